"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dffnets.data import blurred_stereo, ddff12, defocusnet, lightfield4d, mobile_depth, nyu, smartphone
from dffnets.data.sample import DataError, Samples


@dataclass(frozen=True, slots=True)
class DataSetCard:
    """One public data set: what it is, where a user gets it, and how it is opened.

    Nothing is downloaded: ``source`` tells the user where to. ``reader`` is called as
    ``reader(root, split, **options)``; its docstring tells the layout, the mask and the options.
    """

    name: str
    title: str
    paper: str
    licence: str
    """As published; "not stated" where neither the files nor their authors' code say."""
    source: str
    splits: tuple[str, ...]
    reader: Callable[..., Samples]

    def open(self, root: Path | str, split: str, **options: Any) -> Samples:
        """Open a split below ``root``; samples are read from disk as they are asked for.

        Raises
        ------
        DataError
            If a file, a key or the split is missing; the text says which, and what to do.
        """
        return self.reader(Path(root), split, **options)


CARDS: Mapping[str, DataSetCard] = {
    card.name: card
    for card in (
        DataSetCard(
            "ddff12",
            "DDFF 12-Scene",
            "Hazirbas et al., Deep Depth From Focus, ACCV 2018",
            "not stated",
            "Download ddff-dataset-trainval.h5 and ddff-dataset-test.h5, or the light fields and depths, "
            "from hazirbas.com/datasets/ddff12scene.",
            ddff12.SPLITS,
            ddff12.open_ddff12,
        ),
        DataSetCard(
            "fs_6",
            "DefocusNet fs_6 (FoD500)",
            "Maximov et al., Focus on Defocus, CVPR 2020",
            "not stated (the code is MIT)",
            "Follow the link to fs_6.zip in the README of github.com/dvl-tum/defocus-net.",
            defocusnet.SPLITS,
            defocusnet.open_defocusnet,
        ),
        DataSetCard(
            "light_field_4d",
            "4D Light Field",
            "Honauer et al., 4D Light Field Benchmark, ACCV 2016; stacks: Wang et al., ICCV 2021",
            "CC BY-NC-SA 4.0",
            "Request full_data.zip at lightfield-analysis.uni-konstanz.de.",
            lightfield4d.SPLITS,
            lightfield4d.open_light_field,
        ),
        DataSetCard(
            "nyu_v2",
            "NYU Depth v2, labelled, rendered into stacks",
            "Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012",
            "not stated",
            "Download nyu_depth_v2_labeled.mat and splits.mat from cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html.",
            nyu.SPLITS,
            nyu.open_nyu,
        ),
        DataSetCard(
            "flying_things_3d",
            "FlyingThings3D focal stacks",
            "Wang et al., Bridging Unsupervised and Supervised Depth from Focus, ICCV 2021",
            "not stated (FlyingThings3D itself: for research only, no commercial use)",
            "Follow the link to FlyingThings3D_FS in the README of github.com/albert100121/AiFDepthNet.",
            tuple(blurred_stereo.FLYING_THINGS.lists),
            blurred_stereo.open_flying_things,
        ),
        DataSetCard(
            "middlebury",
            "Middlebury focal stacks",
            "Wang et al., Bridging Unsupervised and Supervised Depth from Focus, ICCV 2021",
            "not stated",
            "Follow the link to Middlebury_FS in the README of github.com/albert100121/AiFDepthNet.",
            tuple(blurred_stereo.MIDDLEBURY.lists),
            blurred_stereo.open_middlebury,
        ),
        DataSetCard(
            "smartphone",
            "Smartphone (Learning to Autofocus)",
            "Herrmann et al., Learning to Autofocus, CVPR 2020; protocol: Won and Jeon, ECCV 2022",
            "not stated",
            "Download train1 to train7 and test from learntoautofocus-google.github.io.",
            smartphone.SPLITS,
            smartphone.open_smartphone,
        ),
        DataSetCard(
            "mobile_depth",
            "Mobile Depth",
            "Suwajanakorn et al., Depth from Focus with Your Mobile Phone, CVPR 2015",
            "not stated",
            "Download both archives, aligned stacks and calibration, from supasorn.com/dffdownload.html.",
            mobile_depth.SPLITS,
            mobile_depth.open_mobile_depth,
        ),
    )
}


def open_data_set(name: str, root: Path | str, split: str, **options: Any) -> Samples:
    """Open a split of the data set called ``name``; see `DataSetCard.open`.

    Raises
    ------
    DataError
        If no data set has that name; the text lists those that exist.
    """
    if name not in CARDS:
        raise DataError(f"there is no data set {name!r}; there are {', '.join(CARDS)}.")
    return CARDS[name].open(root, split, **options)
