"""The expectations of our own that rules become for Great Expectations, and asking for them.

Importing this module imports Great Expectations, which takes seconds: it is done where a suite runs.
The metric of a row rule is an aggregate, so that Great Expectations fuses those of all row rules of
a table, and the count of its rows, into one SELECT. No context is made: the validator works on the
engine alone, so that there is neither a project on disk nor anything that threads could share.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import duckdb
from great_expectations.core.batch import Batch
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
from great_expectations.execution_engine.sqlalchemy_execution_engine import (
    SqlAlchemyExecutionEngine,
)
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_partial, metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.validator.validator import Validator
from sqlalchemy import ColumnClause, func, literal_column, select, text

from fluxhero.integrity.dialect import engine_over
from fluxhero.integrity.rules import QueryRule, RowRule
from fluxhero.integrity.suite import query_over

_ROWS_WHERE, _ROWS_OF, _ALL_ROWS = "fluxhero.rows_where", "fluxhero.rows_of", "table.row_count"
_WRAPPED = re.compile(r"^\(_duckdb\.\w+\) ")  # what SQLAlchemy puts before DuckDB's words


class RowsWhere(TableMetricProvider):
    """How many rows meet a condition, as an aggregate among others."""

    metric_name = _ROWS_WHERE
    value_keys = ("condition",)

    @staticmethod
    @metric_partial(
        engine=SqlAlchemyExecutionEngine,
        partial_fn_type=MetricPartialFunctionTypes.AGGREGATE_FN,
        domain_type=MetricDomainTypes.TABLE,
    )
    def _count(
        *,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        **_: object,
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        condition: ColumnClause[bool] = literal_column(f"({metric_value_kwargs['condition']})")
        # Without a row, or where the condition is NULL for each, it counts NULL.
        return func.coalesce(func.count_if(condition), 0), metric_domain_kwargs, {}


class RowsOf(TableMetricProvider):
    """How many rows a query has."""

    metric_name = _ROWS_OF
    value_keys = ("query",)

    @staticmethod
    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _count(
        *,
        execution_engine: SqlAlchemyExecutionEngine,
        metric_value_kwargs: dict[str, Any],
        **_: object,
    ) -> int:
        with execution_engine.get_connection() as connection:
            counted = f"SELECT count(*) FROM ({metric_value_kwargs['query']})"
            return int(connection.exec_driver_sql(counted).scalar_one())


class _ExpectNoRows(BatchExpectation):
    """What counts rows is the first of the metrics, the number of all rows the second."""

    number: int  # of the rule, by which its result is found again

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002
        execution_engine: object = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        breaking, every = (int(metrics[name]) for name in self.metric_dependencies)
        return {
            "success": breaking == 0,
            "result": {"observed_value": breaking, "element_count": every},
        }


class ExpectNoRowsWhere(_ExpectNoRows):
    """No row meets a condition."""

    condition: str
    metric_dependencies = (_ROWS_WHERE, _ALL_ROWS)
    success_keys: ClassVar[tuple[str, ...]] = ("number", "condition")


class ExpectNoRowsOf(_ExpectNoRows):
    """A query has no row."""

    query: str
    metric_dependencies = (_ROWS_OF, _ALL_ROWS)
    success_keys: ClassVar[tuple[str, ...]] = ("number", "query")


class _QuietValidator(Validator):
    def _determine_progress_bars(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Great Expectations says of one rule: a count of rows that break it, or why there is none."""

    count: int
    checked: int
    error: str = ""


def ask(
    connection: duckdb.DuckDBPyConnection, relation: str, rules: Sequence[RowRule | QueryRule]
) -> list[Verdict]:
    """Have Great Expectations check rules on a relation; a verdict for each rule, in their order."""
    engine = SqlAlchemyExecutionEngine(engine=engine_over(connection))
    rows = select(text("*")).select_from(text(relation))
    data: Any = SqlAlchemyBatchData(engine, selectable=rows, create_temp_table=False)
    validator = _QuietValidator(execution_engine=engine, batches=[Batch(data=data)])
    expected = [_expectation(number, rule, relation) for number, rule in enumerate(rules)]
    results = validator.graph_validate([each.configuration for each in expected])
    verdicts = dict(map(_verdict, results))
    silent = Verdict(0, 0, "Great Expectations gave no answer")
    return [verdicts.get(number, silent) for number in range(len(rules))]


def _expectation(number: int, rule: RowRule | QueryRule, relation: str) -> BatchExpectation:
    if isinstance(rule, RowRule):
        return ExpectNoRowsWhere(number=number, condition=rule.bad)
    return ExpectNoRowsOf(number=number, query=query_over(rule, relation))


def _verdict(result: Any) -> tuple[int, Verdict]:
    number = int(result.expectation_config.kwargs["number"])
    error = _error(result.exception_info)
    if error is not None:
        return number, Verdict(0, 0, error)
    found = result.result
    return number, Verdict(int(found["observed_value"]), int(found["element_count"]))


def _error(info: Any) -> str | None:
    """What was raised inside a result; None if nothing was.

    It is told for the result as a whole, or for each of the metrics that it needed.
    """
    if not info:
        return None
    told = [info] if "raised_exception" in info else list(info.values())
    raised = [str(each["exception_message"]) for each in told if each["raised_exception"]]
    return _WRAPPED.sub("", raised[0]).partition("\n")[0] if raised else None
