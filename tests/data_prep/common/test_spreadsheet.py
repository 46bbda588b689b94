import codecs

import pytest

from attention_ar.errors import InputError
from data_prep.common.spreadsheet import read_table

KNOWN = ("path", "label", "group", "split")
ROWS = [("path", "label", "group"), ("wave/a.mp4", "wave", "p"), ("run/ü b.mp4", "run", "q")]


def text(separator=",", end="\n"):
    return "".join(separator.join(row) + end for row in ROWS)


def read(tmp_path, data: bytes):
    (tmp_path / "index.csv").write_bytes(data)
    table = read_table(tmp_path / "index.csv", KNOWN, required=("path", "label"))
    return [tuple(row.fields[name] for name in ROWS[0]) for row in table.rows]


@pytest.mark.parametrize(
    "data",
    [
        text().encode(),
        text(";").encode(),
        text("\t").encode(),
        text(", ").encode(),
        text(" , ").encode(),
        text(" ; ", "\r\n").encode(),
        text(",", "\r").encode(),
        text("\u00a0,").encode(),
        codecs.BOM_UTF8 + text(";").encode(),
        codecs.BOM_UTF16_LE + text("\t", "\r\n").encode("utf-16-le"),
        codecs.BOM_UTF16_BE + text("\t").encode("utf-16-be"),
        codecs.BOM_UTF32_LE + text().encode("utf-32-le"),
        text("\t").encode("utf-16-le"),
        text("\t").encode("utf-16-be"),
        ("sep=;\r\n" + text(";", "\r\n")).encode(),
        ('"sep=|"\n' + text("|")).encode(),
        (text() + ",,\n\n , ,\n;;\n"[:9]).encode(),
        text().replace("path,label", "Path, LABEL ").encode(),
        text(",", ",,\n").encode(),
        text(";", ";;\n").encode(),
        text().replace("wave/a.mp4", '"wave/a.mp4"').replace(",run", ', "run"').encode(),
        text().rstrip("\n").encode(),
        ("\n\n" + text()).encode(),
        (text() + "Path,label , group\n").encode(),
        (text(";", ";\n") + "path;label;group;\n").encode(),
    ],
)
def test_whatever_has_one_reading_is_read(tmp_path, data):
    assert read(tmp_path, data) == ROWS[1:]


def test_separators_within_quotes_and_of_other_kinds_are_text(tmp_path):
    assert read(tmp_path, b'path;label;group\n"a;b,c.mp4";run,jump;x\ty\n') == [("a;b,c.mp4", "run,jump", "x\ty")]
    assert read(tmp_path, b"path,label,group\na;b.mp4,run;jump,\n") == [("a;b.mp4", "run;jump", "")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"index.csv: is empty; its first line must be path,label,group,split"),
        (text().encode("latin-1"), r'index.csv line 3: not UTF-8 text \(byte 0xfc\); save it as "CSV UTF-8"'),
        (b"PK\x03\x04\x14\0", 'a spreadsheet\'s own file, not text; save it as "CSV UTF-8"'),
        (codecs.BOM_UTF16_LE + b"p\0a", "not UTF-16-LE text"),
        (b"run/a.mp4,run\n", "no column path; the first line must be path,label.*, and names 'run/a.mp4', 'run'"),
        (b"path,label\na.mp4;run\n", "line 2: must have 2 fields, path,label, with commas between them; has 1"),
        (b"path;label\na.mp4;run;x\n", "line 2: must have 2 fields, path,label, with semicolons between them; has 3"),
        (b"path,label,\na.mp4,run,x\n", "unknown column ''"),
        (b"sep=;\npath;label\n\na.mp4\n", "line 4: must have 2 fields"),
    ],
)
def test_the_cause_is_named(tmp_path, data, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.csv: cannot be read \(No such file"):
        read_table(tmp_path / "nowhere.csv", KNOWN, ("path",))
