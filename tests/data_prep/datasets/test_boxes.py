"""boxes.csv and what it says about the cells of the grid."""

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.datasets.boxes import box_cell_weights, read_boxes

HEADER = "path,frame,x0,y0,x1,y1\n"
SIZES = {"run/a.mp4": (320, 240), "jump/b (1).avi": (64, 48)}


def boxes_file(folder, text):
    path = folder / "boxes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_boxes_are_read_in_the_order_of_the_frames(tmp_path):
    path = boxes_file(tmp_path, HEADER + "run/a.mp4,1,5,6,7.5,8\njump/b (1).avi,0,0,0,64,48\nrun/a.mp4,0,1,2,3,4\n")
    for boxes in (read_boxes(path), read_boxes(path, SIZES.get)):
        assert list(boxes) == ["run/a.mp4", "jump/b (1).avi"]
        np.testing.assert_array_equal(boxes["run/a.mp4"].frames, [0, 1])
        np.testing.assert_array_equal(boxes["run/a.mp4"].boxes, [[1, 2, 3, 4], [5, 6, 7.5, 8]])
        np.testing.assert_array_equal(boxes["jump/b (1).avi"].boxes, [[0, 0, 64, 48]])


def test_a_frame_may_have_no_box(tmp_path):
    boxes = read_boxes(boxes_file(tmp_path, HEADER + "a,7,1,2,3,4\na,2,0,0,5,6\na,2000000000,0,0,1,1\n"))["a"]
    none = [np.nan] * 4
    np.testing.assert_array_equal(boxes.at([[0, 2], [7, 8]]), [[none, [0, 0, 5, 6]], [[1, 2, 3, 4], none]])
    np.testing.assert_array_equal(boxes.at([2_000_000_000, 2_000_000_001]), [[0, 0, 1, 1], none])


def test_more_columns_other_orders_and_a_byte_order_mark_are_fine(tmp_path):
    path = boxes_file(tmp_path, "\ufeffy1,x1,y0,x0,frame,path,note\n4,3,2,1,0,run/ä.mp4,seen\n")
    np.testing.assert_array_equal(read_boxes(path)["run/ä.mp4"].boxes, [[1, 2, 3, 4]])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("path,frame,x0,y0,x1\na,0,1,2,3\n", "no column y1; the first line must be path,frame,x0,y0,x1,y1"),
        ("", "is empty; its first line must be path,frame"),
        (HEADER, "no boxes in it"),
        (HEADER + "run/a.mp4,0,1,2,x,4\n", "line 2: frame must be a whole number"),
        (HEADER + "run/a.mp4,0.5,1,2,3,4\n", "line 2: frame must be a whole number"),
        (HEADER + "run/a.mp4,0,1,2,3\n", "line 2: must have 6 fields, path,frame,x0,y0,x1,y1, with commas"),
        ("frame,x0,y0,x1,y1,path\n0,1,2,3,4,a\n1,1,2,3,4\n", "line 3: must have 6 fields"),
        (HEADER + ",0,1,2,3,4\n", "line 2: has no path; must name a clip"),
        (HEADER + "run/a.mp4,-1,1,2,3,4\n", "frame=-1; must be 0 or greater"),
        (HEADER + "run/a.mp4,0,1,2,3,4\nrun/a.mp4,1,3,2,1,4\n", r"line 3: no box, from \(3, 2\) to \(1, 4\)"),
        (HEADER + "run/a.mp4,0,1,2,3,2\n", "must have x0 < x1 and y0 < y1"),
        (HEADER + "run/a.mp4,0,nan,2,3,4\n", "must have x0 < x1"),
        (HEADER + "run/a.mp4,0,-1,2,3,4\n", "line 2: the box leaves the frame"),
        (HEADER + "run/a.mp4,0,1,2,inf,4\n", "line 2: the box leaves the frame"),
        (HEADER + "run/a.mp4,0,1,2,3,4\nrun/a.mp4,0,1,2,3,4\n", "line 3: a second box for frame 0 of run/a.mp4"),
        (HEADER + "run/a.mp4,99999999999,1,2,3,4\n", "frame=99999999999; must be 0 or greater, and below 2147483648"),
        (HEADER + 'run/a.mp4,0,1,2,3,"4\n', "line 2: not readable as a table"),
    ],
)
def test_faults_are_named(tmp_path, text, complaint):
    path = boxes_file(tmp_path, text)
    with pytest.raises(InputError, match=complaint) as error:
        read_boxes(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("run/a.mp4,0,1,2,320.5,4", "leaves the frame; must lie within 0 and 320 across and 240 down"),
        ("jump/b (1).avi,0,1,2,64,49", "within 0 and 64 across and 48 down"),
    ],
)
def test_of_clips_of_known_size_boxes_beyond_the_frame_are_faults(tmp_path, row, complaint):
    path = boxes_file(tmp_path, HEADER + "run/c.mp4,0,0,0,999,999\n" + row + "\n")
    read_boxes(path)
    with pytest.raises(InputError, match=complaint):
        read_boxes(path, SIZES.get)


@pytest.mark.parametrize(
    "text",
    ["path;frame;x0;y0;x1;y1\na.mp4;3;0,5;1;2;4,25\n;;;;;\n", "path\tframe\tx0\ty0\tx1\ty1\na.mp4\t3\t0.5\t1\t2\t4.25"],
)
def test_boxes_as_spreadsheets_write_them(tmp_path, text):
    (found,) = read_boxes(boxes_file(tmp_path, text)).values()
    assert (found.frames.tolist(), found.boxes.tolist()) == ([3], [[0.5, 1, 2, 4.25]])


def test_a_path_that_is_written_in_another_way_means_the_clip_that_there_is(tmp_path):
    path = boxes_file(tmp_path, HEADER + "run\\cafe\u0301.mp4,0,1,2,3,4\nrun\\other.mp4,0,1,2,3,4\n")
    assert list(read_boxes(path, clips=["run/caf\u00e9.mp4"])) == ["run/caf\u00e9.mp4", "run/other.mp4"]


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_boxes(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_boxes(tmp_path)
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-16-LE text"):
        read_boxes(tmp_path / "boxes.csv")


def test_coverage_by_hand():
    # On a 2 × 2 grid of a frame 8 wide and 4 high, cells are 4 × 2 pixels.
    np.testing.assert_allclose(box_cell_weights((2, 1, 8, 3), 8, 4, grid=2), [0.25, 0.5, 0.25, 0.5])
    np.testing.assert_allclose(box_cell_weights((0, 0, 4, 2), 8, 4, grid=2), [1, 0, 0, 0])
    np.testing.assert_allclose(box_cell_weights((5, 2.5, 6, 3), 8, 4, grid=2), [0, 0, 0, 0.0625])


def test_coverage_is_the_share_of_the_pixels():
    random = np.random.default_rng(0)
    for _ in range(20):
        (x0, x1), (y0, y1) = np.sort(random.choice(71, 2, False)), np.sort(random.choice(141, 2, False))
        mask = np.zeros((140, 70))
        mask[y0:y1, x0:x1] = 1
        by_pixels = mask.reshape(7, 20, 7, 10).mean((1, 3)).ravel()
        np.testing.assert_allclose(box_cell_weights((x0, y0, x1, y1), 70, 140), by_pixels, atol=1e-12)


def test_mean_coverage_is_the_area_and_outside_is_cut_off():
    assert box_cell_weights((32, 24, 96, 72), 320, 240).mean() == pytest.approx(0.04)
    np.testing.assert_allclose(box_cell_weights((-50, -50, 999, 999), 320, 240), np.ones(49))
    np.testing.assert_allclose(box_cell_weights((-50, 0, -1, 240), 320, 240), np.zeros(49))


def test_many_boxes_at_once():
    boxes = np.random.default_rng(1).uniform(0, 50, (3, 5, 4)) + [0, 0, 60, 60]
    cells = box_cell_weights(boxes, 128, 128, grid=14)
    assert cells.shape == (3, 5, 196)
    np.testing.assert_array_equal(cells[1, 2], box_cell_weights(boxes[1, 2], 128, 128, grid=14))
