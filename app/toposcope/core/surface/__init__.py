"""Heights measured: levelled and filtered surfaces, ISO 25178 parameters, profiles and steps.

>>> surface = prepared(surface_of(result), SurfaceSettings("plane", s_um=2.5))  # doctest: +SKIP
>>> for parameter in areal_parameters(surface):                                 # doctest: +SKIP
...     print(parameter.name, parameter.text)
>>> profile_parameters(profile_along(surface, (0, 0), (0, 511)))                # doctest: +SKIP

What was measured stays as it is: each step returns another surface, which says what was done to it.
"""

from toposcope.core.surface.areal import areal_parameters
from toposcope.core.surface.measurement import (
    Measurement,
    Plan,
    measure,
    measured_facts,
    parameters_csv,
    profile_on,
    step_on,
    step_parameters,
    write_measurement,
)
from toposcope.core.surface.model import (
    PARAMETER_GROUPS,
    Area,
    Parameter,
    Surface,
    height_surface,
    parameter_rows,
    surface_of,
)
from toposcope.core.surface.preparing import FINEST_TOLD_PX, FORMS, SurfaceSettings, fineness_text, prepared
from toposcope.core.surface.profile import Profile, profile_along, profile_csv, profile_parameters
from toposcope.core.surface.step import Step, step_height

__all__ = [
    "FINEST_TOLD_PX",
    "FORMS",
    "PARAMETER_GROUPS",
    "Area",
    "Measurement",
    "Parameter",
    "Plan",
    "Profile",
    "Step",
    "Surface",
    "SurfaceSettings",
    "areal_parameters",
    "fineness_text",
    "height_surface",
    "measure",
    "measured_facts",
    "parameter_rows",
    "parameters_csv",
    "prepared",
    "profile_along",
    "profile_csv",
    "profile_on",
    "profile_parameters",
    "step_height",
    "step_on",
    "step_parameters",
    "surface_of",
    "write_measurement",
]
