"""The paper's figures of what trained models look at. `drawing.draw_figure` knows what each of them shows."""
