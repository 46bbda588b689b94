"""The numbers of the paper's tables, in per cent: accuracy, and mean average precision on Hollywood2."""

TITLES = {"ucf11": "UCF-11", "hmdb51": "HMDB-51", "hollywood2": "Hollywood2"}

TABLE_1 = {
    "ucf11": {
        "softmax_regression": 82.37,
        "average_pool": 82.56,
        "max_pool": 81.60,
        "attention_0": 84.96,
        "attention_1": 83.52,
        "attention_10": 81.44,
    },
    "hmdb51": {
        "softmax_regression": 33.46,
        "average_pool": 40.52,
        "max_pool": 37.58,
        "attention_0": 41.31,
        "attention_1": 40.98,
        "attention_10": 39.87,
    },
    "hollywood2": {
        "softmax_regression": 34.62,
        "average_pool": 43.19,
        "max_pool": 43.22,
        "attention_0": 43.91,
        "attention_1": 43.18,
        "attention_10": 42.92,
    },
}
"""Data set and row; the models of the paper at 30 fps."""

TABLE_2 = (
    ("RGB only", "spatial-stream ConvNet", {"hmdb51": 40.5}),
    ("RGB only", "soft attention, the paper's", {"hmdb51": 41.3, "hollywood2": 43.9}),
    ("RGB only", "composite LSTM", {"hmdb51": 44.0}),
    ("RGB only", "DL-SFA", {"hollywood2": 48.1}),
    ("with optical flow", "two-stream ConvNet", {"hmdb51": 59.4}),
    ("with optical flow", "VideoDarwin", {"hmdb51": 63.7, "hollywood2": 73.7}),
    ("with optical flow", "multi-skip feature stacking", {"hmdb51": 65.1, "hollywood2": 68.0}),
    ("with optical flow", "traditional + stacked Fisher vectors", {"hmdb51": 66.8}),
    ("with object responses", "objects + traditional + stacked Fisher vectors", {"hmdb51": 71.3, "hollywood2": 66.4}),
)
"""The methods' inputs, their names, and their numbers by data set; the sources are in the paper's references."""


def dataset_of(split_id: str) -> str | None:
    """Returns which of the paper's data sets a split is of, whole and as the paper splits it, or None.

    The paper's HMDB-51 is split 1, as its author has stated.
    """
    dataset, *rest = split_id.split("-")
    whole = dataset in TITLES and not any(word.startswith("without") for word in rest)
    return dataset if whole and not (dataset == "hmdb51" and "official1" not in rest) else None
