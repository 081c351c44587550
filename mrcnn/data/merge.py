"""Several datasets as one."""

from mrcnn.data.checks import check_prepared
from mrcnn.data.dataset import CombinedDataset, Dataset


def merge(*datasets: Dataset) -> Dataset:
    """Return a prepared dataset with the images of all datasets.

    Classes of one name become one class, whatever their source; they are numbered in the order in
    which the datasets have them. An image trains only the classes that its source labels: where one
    dataset has cats and the other one dogs, a dog in a photo of the first one is no mistake.

    Raises:
        ValueError: for no dataset, or one that is not prepared.
    """
    if not datasets:
        raise ValueError("merge() takes one or more datasets; given: none.")
    for dataset in datasets:
        check_prepared(dataset)
    names = [info["name"] for dataset in datasets for info in dataset.class_info[1:]]
    return CombinedDataset(datasets, list(dict.fromkeys(names)))
