"""The paper's figures of where trained models look. `registry.draw_figure` draws each."""
