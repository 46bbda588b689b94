from data_prep.common import progress


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch, capsys):
    seconds = iter([0.0, 3.0, 5.0, 8.0, 65.0, 70.0, 99.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    with progress.Progress(1000, 200, "frame") as shown:
        for _ in range(6):
            shown.advance(100)
    assert capsys.readouterr().err.splitlines() == [
        "400 of 1000 frames, 40.0 frames/s, 00:15 left",  # in the first minute after 4 s, later after 30
        "600 of 1000 frames, 6.2 frames/s, 01:05 left",
        "800 of 1000 frames, 6.1 frames/s, 00:33 left",
    ]
