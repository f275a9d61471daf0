"""Queries over jobs: fields, filters, and the text form of filters.  Pure, as all of this floor.

    fields   = parse_fields("id,status,summary")           # [Field]; Field.get(document, archived)
    form     = parse_filter('status == "error"', now=…)    # Ganeti's list form
    selected = compile_filter(form, now=…)                 # Filter
    selected.matches(document, archived)                   # bool
    selected.ids                                           # exact IDs asked for, or None
    selected.names_archived                                # archived jobs are asked for

`GANETI`, `OWN` and `ALL` are the fields by name.  Errors are InvalidQuery and its MalformedQuery;
`show_position(text, error)` draws a caret below the place.
"""

from jqueue.job.query.choice import Choice
from jqueue.job.query.fields import (
    ALL,
    GANETI,
    OWN,
    Field,
    Kind,
    field_named,
    parse_fields,
    unknown_field,
)
from jqueue.job.query.filters import Filter, compile_filter
from jqueue.job.query.moments import moment_us
from jqueue.job.query.rows import DEFAULT_FIELDS, fields_row, in_order, times_in
from jqueue.job.query.text import parse_filter, show_position

__all__ = [
    "ALL",
    "DEFAULT_FIELDS",
    "GANETI",
    "OWN",
    "Choice",
    "Field",
    "Filter",
    "Kind",
    "compile_filter",
    "field_named",
    "fields_row",
    "in_order",
    "moment_us",
    "parse_fields",
    "parse_filter",
    "show_position",
    "times_in",
    "unknown_field",
]
