from data_prep.common import progress


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch, capsys):
    seconds = iter([0.0, 10.0, 40.0, 50.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    with progress.Progress(1000, 200, "frame") as shown:
        for _ in range(3):
            shown.advance(100)
    assert capsys.readouterr().err == "400 of 1000 frames, 5.0 frames/s, 02:00 left\n"
