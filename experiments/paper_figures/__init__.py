"""The paper's figures of what trained models look at. `registry.draw_figure` draws each."""
