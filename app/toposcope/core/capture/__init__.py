"""Live capture: microscopes, sweeps and how they reach the disk.

>>> microscope = SimulatedMicroscope()
>>> store = begin_sweep(microscope, SweepPlan(0, 24, 2), Path("scan.ome.tif"))    # doctest: +SKIP
>>> outcome = run_sweep(microscope, store)                                        # doctest: +SKIP
>>> stack = open_stack(outcome.path)                                              # doctest: +SKIP
"""

from toposcope.core.capture.micro_manager import MicroManagerMicroscope
from toposcope.core.capture.microscope import Microscope, Optics
from toposcope.core.capture.ome import PlaneFacts, SweepFacts, write_ome_tiff
from toposcope.core.capture.planes import PlaneStore, slices_folder, target_path
from toposcope.core.capture.simulated import Fault, SimulatedMicroscope
from toposcope.core.capture.sweeping import SweepOutcome, begin_sweep, run_sweep
from toposcope.core.capture.trace import SharpnessTrace, live_scale, sharpest_z
from toposcope.core.plan import SweepPlan

__all__ = [
    "Fault",
    "MicroManagerMicroscope",
    "Microscope",
    "Optics",
    "PlaneFacts",
    "PlaneStore",
    "SharpnessTrace",
    "SimulatedMicroscope",
    "SweepFacts",
    "SweepOutcome",
    "SweepPlan",
    "begin_sweep",
    "live_scale",
    "run_sweep",
    "sharpest_z",
    "slices_folder",
    "target_path",
    "write_ome_tiff",
]
