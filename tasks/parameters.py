"""What the parameters of flows may be, as the form of a run in the Prefect UI has it.

The bounds are in the JSON schema alone: the server refuses a value beyond them before there is a run,
while a call from Python, or a command, meets the step that refuses it in words of ours. What a parameter
means stands in its flow's docstring, which Prefect takes the descriptions from. Names that a choice is made
of stand beside the steps that know them.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic.fields import FieldInfo

from config.bounds import MOST_DAYS, MOST_ROWS

_MOST_CHARACTERS: Final = 1_000
_MOST_ITEMS: Final = 10_000
_ZONE: Final = r"^[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+)*$"
_TIMEFRAME: Final = r"^[1-9][0-9]?[A-Za-z]+$"


def form(**schema: Any) -> FieldInfo:
    """Bounds that only the form knows, in the words of JSON Schema."""
    field: FieldInfo = Field(json_schema_extra=schema)
    return field


Text = Annotated[str, form(minLength=1, maxLength=_MOST_CHARACTERS)]
Days = Annotated[int, form(minimum=0, maximum=MOST_DAYS)]
Rows = Annotated[int, form(minimum=1, maximum=MOST_ROWS)]
Moment = Annotated[datetime, form(examples=["2026-03-31T22:00:00Z"])]
Zone = Annotated[str, form(pattern=_ZONE, examples=["America/New_York"])]
TimeframeName = Annotated[str, form(pattern=_TIMEFRAME, examples=["1Day", "5Min", "1Hour"])]

Texts = Annotated[list[Text], form(maxItems=_MOST_ITEMS)]
SomeTexts = Annotated[list[Text], form(minItems=1, maxItems=_MOST_ITEMS)]
