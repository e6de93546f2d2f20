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
    layout: str
    """What the root folder holds, in words."""
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
            "ddff-dataset-test.h5 or ddff-dataset-trainval.h5 (splits test, train, val); for dfv-train and dfv-val "
            "the file that DFV's pack_to_h5.py writes, or LightField/train/ROOM/LF_0001.npy with "
            "DepthRegistered/train/ROOM/DEPTH_0001.png.",
            ddff12.SPLITS,
            ddff12.open_ddff12,
        ),
        DataSetCard(
            "fs_6",
            "DefocusNet fs_6 (FoD500)",
            "Maximov et al., Focus on Defocus, CVPR 2020",
            "not stated (the code is MIT)",
            "Follow the link to fs_6.zip in the README of github.com/dvl-tum/defocus-net.",
            "000000_...All.tif, five a scene by name, from near to far focus (0.1, 0.15, 0.3, 0.7, 1.5 m), and "
            "000000Dpt.exr in metres, all in one folder (scenes from 400 on test) or in folders train and test.",
            defocusnet.SPLITS,
            defocusnet.open_defocusnet,
        ),
        DataSetCard(
            "light_field_4d",
            "4D Light Field",
            "Honauer et al., 4D Light Field Benchmark, ACCV 2016; stacks: Wang et al., ICCV 2021",
            "CC BY-NC-SA 4.0",
            "Request full_data.zip at lightfield-analysis.uni-konstanz.de.",
            "HCI_FS_trainval.h5, or the folders additional, training, stratified and test, each with "
            "SCENE/input_Cam000.png to input_Cam080.png and SCENE/gt_disp_lowres.pfm.",
            lightfield4d.SPLITS,
            lightfield4d.open_light_field,
        ),
        DataSetCard(
            "nyu_v2",
            "NYU Depth v2, labelled, rendered into stacks",
            "Silberman et al., Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012",
            "not stated",
            "Download nyu_depth_v2_labeled.mat and splits.mat from cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html.",
            "nyu_depth_v2_labeled.mat and splits.mat.",
            nyu.SPLITS,
            nyu.open_nyu,
        ),
        DataSetCard(
            "flying_things_3d",
            "FlyingThings3D focal stacks",
            "Wang et al., Bridging Unsupervised and Supervised Depth from Focus, ICCV 2021",
            "not stated (FlyingThings3D itself: for research only, no commercial use)",
            "Follow the link to FlyingThings3D_FS in the README of github.com/albert100121/AiFDepthNet.",
            "train/flyingthings3d_FS_path.txt and val/flyingthings3d_FS_path.txt, with the pictures that they "
            "list below these folders.",
            tuple(blurred_stereo.FLYING_THINGS.lists),
            blurred_stereo.open_flying_things,
        ),
        DataSetCard(
            "middlebury",
            "Middlebury focal stacks",
            "Wang et al., Bridging Unsupervised and Supervised Depth from Focus, ICCV 2021",
            "not stated",
            "Follow the link to Middlebury_FS in the README of github.com/albert100121/AiFDepthNet.",
            "focal_stack/Middlebury_path.txt, with the pictures that it lists below that folder.",
            tuple(blurred_stereo.MIDDLEBURY.lists),
            blurred_stereo.open_middlebury,
        ),
        DataSetCard(
            "smartphone",
            "Smartphone (Learning to Autofocus)",
            "Herrmann et al., Learning to Autofocus, CVPR 2020; protocol: Won and Jeon, ECCV 2022",
            "not stated",
            "Download train1 to train7 and test from learntoautofocus-google.github.io.",
            "train1 to train7 and test, each with scaled_images/SCENE/0 to 48/result_scaled_image_center.jpg (0 "
            "is the farthest focus), merged_depth/SCENE/result_merged_depth_center.png and "
            "merged_conf/SCENE/result_merged_conf_center.exr.",
            smartphone.SPLITS,
            smartphone.open_smartphone,
        ),
        DataSetCard(
            "mobile_depth",
            "Mobile Depth",
            "Suwajanakorn et al., Depth from Focus with Your Mobile Phone, CVPR 2015",
            "not stated",
            "Download both archives, aligned stacks and calibration, from supasorn.com/dffdownload.html.",
            "Aligned/Figure1/SCENE/a00.jpg and following, and calibration/SCENE/calibrated.txt, below any outer "
            "folders.",
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
