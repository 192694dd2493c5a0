"""What several measurements tell together, in the order in which one may use another."""

from __future__ import annotations

from cathoscope.flow.relations import Relation
from cathoscope.flow.steps.relate_cycles import CYCLES
from cathoscope.flow.steps.relate_events import EVENTS
from cathoscope.flow.steps.relate_kinetics import KINETICS
from cathoscope.flow.steps.relate_oxygen import OXYGEN
from cathoscope.flow.steps.relate_place import PLACE
from cathoscope.flow.steps.relate_samples import SAMPLES

RELATIONS: tuple[Relation, ...] = (EVENTS, OXYGEN, PLACE, CYCLES, KINETICS, SAMPLES)
