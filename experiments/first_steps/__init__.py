"""The quickstart: a first look at what this project does, on synthetic clips or on your own."""
