"""What a run is: its flags, training, evaluation, predictions."""
