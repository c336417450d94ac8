from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from nearnorm.models.data.schema import Feature, FeatureSchema, Kind
from nearnorm.models.data.times import TimeFormat
from nearnorm.models.errors import ConfigError, DataError
from nearnorm.training.dataset.columns.infer import infer_schema
from nearnorm.training.dataset.columns.kinds import MOST_CATEGORIES
from nearnorm.training.dataset.recipe import ColumnOverride

ROWS = 400
rng = np.random.default_rng(0)
MEASURED = pa.array(rng.normal(size=ROWS))


def inferred(column: object, override: ColumnOverride | None = None) -> Feature:
    """What inference says of one column beside a plain number."""
    values = column if isinstance(column, (pa.Array, pa.ChunkedArray)) else pa.array(column)
    if pa.types.is_string(values.type):
        values = values.dictionary_encode()
    table = pa.table({"measured": MEASURED, "column": values})
    overrides = {} if override is None else {"column": override}
    return infer_schema(table, overrides).schema.features[1]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (rng.normal(size=ROWS), Kind.NUMERIC),
        (rng.integers(0, 3, ROWS), Kind.NUMERIC),
        (rng.integers(0, 2, ROWS), Kind.NUMERIC),
        ([True, False] * (ROWS // 2), Kind.BOOLEAN),
        (["true", "False"] * (ROWS // 2), Kind.BOOLEAN),
        (["tcp", "udp", None, "tcp"] * (ROWS // 4), Kind.CATEGORICAL),
        (["7", "11"] * (ROWS // 2), Kind.CATEGORICAL),
        ([f"{x:.3f}" for x in rng.normal(size=ROWS)], Kind.NUMERIC),
        ([1.0, None] * (ROWS // 2), Kind.NUMERIC),
    ],
)
def test_kinds_are_inferred_from_values(column: object, kind: Kind) -> None:
    assert inferred(column).kind is kind


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([5] * ROWS, "constant"),
        (["EUR"] * ROWS, "constant"),
        ([None] * ROWS, "every value is missing"),
        ([f"user-{i}" for i in range(ROWS)], "identifier"),
        (list(range(1000, 1000 + ROWS)), "identifier"),
        (rng.permutation(ROWS), "identifier"),
        (np.cumsum(rng.integers(1, 1_000_000, ROWS)), "identifier"),
        (["Jan 31, 2026", "31.01.2026"] * (ROWS // 2), "not all of one form"),
        (pa.array(range(ROWS), pa.duration("s")), "cannot be scored"),
        (pa.array([[1]] * ROWS), "cannot be scored"),
        (pa.array([b"x"] * ROWS), "cannot be scored"),
    ],
)
def test_columns_that_say_nothing_are_left_out_with_the_reason(column: object, reason: str) -> None:
    feature = inferred(column)
    assert feature.kind is (Kind.ID if reason == "identifier" else Kind.IGNORED)
    assert reason in feature.reason


def test_measurements_are_not_taken_for_identifiers() -> None:
    seconds = rng.choice(7_776_000, ROWS, replace=False) + 1_767_225_600
    cents = rng.integers(0, 10**12, ROWS)
    assert inferred(seconds).kind is Kind.NUMERIC
    assert inferred(cents).kind is Kind.NUMERIC
    assert inferred(np.sort(rng.normal(size=ROWS))).kind is Kind.NUMERIC


def test_in_few_rows_distinct_values_are_not_yet_identifiers() -> None:
    table = pa.table({"a": list(range(20)), "b": pa.array([f"n{i}" for i in range(20)]).dictionary_encode()})
    assert [f.kind for f in infer_schema(table, {}).schema.features] == [Kind.NUMERIC, Kind.CATEGORICAL]


def test_every_column_that_is_left_out_is_named_in_a_warning() -> None:
    table = pa.table({"x": MEASURED, "same": [1] * ROWS, "row": list(range(ROWS))})
    warnings = infer_schema(table, {}).warnings
    assert [warning.split(":")[0] for warning in warnings] == [
        "column 'same' is left out",
        "column 'row' is left out",
    ]


@pytest.mark.parametrize(("unit", "form"), [(1, "epoch s"), (1000, "epoch ms")])
def test_amounts_that_could_be_times_are_told_with_the_mend(unit: int, form: str) -> None:
    seconds = unit * rng.integers(1_700_000_000, 1_760_000_000, ROWS)
    found = infer_schema(pa.table({"x": MEASURED, "seconds": seconds}), {})
    assert found.schema.features[1].kind is Kind.NUMERIC
    assert found.warnings == (
        "column 'seconds' is taken as an amount, and its numbers could be times. If they are, set "
        f'kind = "time" and format = "{form}" in [schema.seconds]',
    )


@pytest.mark.parametrize("form", ["%y%m%d", "%d%m%Y", "%m%d%Y"])
@pytest.mark.parametrize("name", ["x2", "booked_at"])
def test_numbers_that_are_dates_of_no_format_are_told_with_the_mend(form: str, name: str) -> None:
    first = datetime(2021, 1, 1, tzinfo=UTC)
    days = [int((first + timedelta(days=int(day))).strftime(form)) for day in rng.integers(0, 2000, ROWS)]
    found = infer_schema(pa.table({"x": MEASURED, name: days}), {})
    assert found.schema.features[1].kind is Kind.NUMERIC
    (warning,) = found.warnings
    assert "could be dates, such as" in warning
    assert "write those as 20260131 or 2026-01-31" in warning
    amounts = rng.integers(10_101, 991_231, ROWS)
    assert infer_schema(pa.table({"x": MEASURED, "paid": amounts}), {}).warnings == ()


@pytest.mark.parametrize("mark", ["#WERT!", "#BEZUG!", "#¡VALOR!", "#NV", "#NAME?"])
def test_what_spreadsheets_say_in_any_language_is_a_missing_mark(mark: str) -> None:
    feature = inferred(["1.5", mark, "2.5", "3"] * (ROWS // 4))
    assert feature.kind is Kind.NUMERIC
    assert feature.missing == (mark,)


@pytest.mark.parametrize(
    "periods",
    [
        [202511, 202512, 202601],
        ["2026-01", "2026-02"],
        ["01/2026", "02/2026"],
        ["2026Q1", "2026-Q2"],
        ["Q1 2026", "Q2 2026"],
        ["2026-W05", "2026W06"],
        ["Jan 2026", "März 2026", "Dezember 2025"],
    ],
)
def test_periods_of_time_are_left_out_as_they_do_not_come_again(periods: list[object]) -> None:
    feature = inferred((periods * ROWS)[:ROWS])
    assert feature.kind is Kind.IGNORED
    assert "which do not come again" in feature.reason


@pytest.mark.parametrize(
    "names", [["Model 2020", "Model 2021"], [202511, 202513, 202601], ["2026-13", "2026-01"]]
)
def test_what_is_no_month_is_no_period(names: list[object]) -> None:
    assert inferred((names * ROWS)[:ROWS]).kind is not Kind.IGNORED


def test_dates_as_numbers_are_told_under_any_name() -> None:
    days = np.array([20260101 + i % 12 for i in range(ROWS)])
    found = infer_schema(pa.table({"x": MEASURED, "booked": days}), {})
    assert found.schema.features[1].kind is Kind.NUMERIC
    assert 'set kind = "time" and format = "ymd" in [schema.booked]' in found.warnings[0]
    no_days = infer_schema(pa.table({"x": MEASURED, "booked": days + 25}), {})
    assert no_days.warnings == ()


@pytest.mark.parametrize(
    "times",
    [
        ["17.2.2026, 23:22:00", "3.11.2026, 09:05:11"],
        ["2/17/2026, 11:22:00 PM", "11/3/2026, 9:05:11 AM"],
        ["2026-02-17, 23:22", "2026-11-03, 09:05"],
        ["20. April 2026", "3. May 2026"],
    ],
)
def test_times_as_browsers_and_letters_write_them_are_times(times: list[str]) -> None:
    assert inferred(times * (ROWS // 2)).kind is Kind.TIME


def test_texts_that_could_be_numbers_are_told() -> None:
    differ = [f"{i},{i % 90 + 10}" for i in range(ROWS)]
    table = pa.table(
        {"x": MEASURED, "n": pa.array(differ), "few": pa.array(["1.234,5", "2,5"] * (ROWS // 2))}
    )
    found = infer_schema(table, {})
    assert [feature.kind for feature in found.schema.features[1:]] == [Kind.IGNORED, Kind.CATEGORICAL]
    assert found.warnings == (
        "column 'n' is left out: texts such as '0,10': write numbers as numbers",
        "column 'few' is taken as categories, and its texts, such as '1.234,5', could be numbers: if they "
        "are, write them as numbers",
    )


def test_an_infinity_is_told_before_training_refuses_it() -> None:
    found = infer_schema(pa.table({"x": MEASURED, "y": [*range(ROWS - 1), float("inf")]}), {})
    assert found.warnings == ("column 'y' holds an infinity, which no model is trained on: mend its rows",)


def test_times_that_are_not_all_such_are_left_out_with_one_that_is_none() -> None:
    feature = inferred(["31.01.2026", "01.02.2026"] * (ROWS // 2 - 1) + ["Summe", "31.01.2026"])
    assert feature.reason == "dates and times, not all of one form, such as 'Summe'"


def test_names_with_a_space_at_an_end_are_told_in_one_line() -> None:
    table = pa.table(dict.fromkeys(["x", "a ", " b", "c ", "d "], MEASURED))
    assert infer_schema(table, {}).warnings == (
        "4 names begin or end with a space, and records have to name them so: 'a ', ' b', 'c ' and 1 more",
    )


def test_ten_thousand_categories_are_cut_to_the_most_frequent_with_a_warning() -> None:
    frequent = [f"c{i % 150}" for i in range(6_000)]
    rare = [f"r{i // 2}" for i in range(20_000)]
    table = pa.table({"s": pa.array(frequent + rare).dictionary_encode()})
    result = infer_schema(table, {})
    assert len(result.schema.features[0].categories) == MOST_CATEGORIES
    assert all(category.startswith("c") for category in result.schema.features[0].categories)
    assert "column 's' has 10,150 categories" in result.warnings[0]


def test_a_category_seen_once_is_left_to_the_unknown_bucket() -> None:
    assert inferred(["a"] * (ROWS - 1) + ["oops"]).categories == ("a",)


def test_categories_are_ordered_by_frequency_then_name() -> None:
    assert inferred(["b", "a", "c", "c"] * (ROWS // 4)).categories == ("c", "a", "b")


@pytest.mark.parametrize(
    ("column", "row"),
    [
        (["1.5"] * 200 + ["high"] * 200, 201),
        ([str(i % 40) for i in range(399)] + ["x"], 400),
        (["none given"] + [str(i) for i in range(399)], 1),
    ],
)
def test_a_column_that_changes_its_type_half_way_is_refused_at_its_first_row(
    column: list[str], row: int
) -> None:
    with pytest.raises(DataError, match=f"column 'column' changes its type: row {row} holds"):
        inferred(column)
    assert inferred(column, ColumnOverride(kind="categorical")).kind is Kind.CATEGORICAL


def test_a_column_that_always_mixed_codes_and_numbers_is_a_category() -> None:
    assert inferred(["12", "A3", "7", "B1"] * (ROWS // 4)).kind is Kind.CATEGORICAL


def test_an_override_decides_over_inference() -> None:
    assert inferred(list(range(ROWS)), ColumnOverride(kind="numeric")).kind is Kind.NUMERIC
    assert inferred([1, 2] * (ROWS // 2), ColumnOverride(kind="categorical")).categories == ("1", "2")
    assert (
        inferred([1, 2] * (ROWS // 2), ColumnOverride(kind="ignored")).reason
        == "left out by the configuration"
    )
    assert inferred([1, 2] * (ROWS // 2), ColumnOverride(nullable=False)).nullable is False


def test_an_override_of_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[schema\.amout\]: the data has no column of that name"):
        infer_schema(pa.table({"amount": MEASURED}), {"amout": ColumnOverride(kind="numeric")})


def test_a_date_cannot_be_made_a_number() -> None:
    with pytest.raises(ConfigError, match="dates and times cannot be numeric"):
        inferred(pa.array(range(ROWS), pa.timestamp("s")), ColumnOverride(kind="numeric"))


def test_data_without_any_column_to_learn_from_is_refused_with_the_reasons() -> None:
    with pytest.raises(DataError, match=r"no column is left to learn from \(a: constant\)"):
        infer_schema(pa.table({"a": [1] * ROWS}), {})


def texts_of(column: list[str | None]) -> pa.Array:
    return pa.array(column, pa.string()).dictionary_encode()


@pytest.mark.parametrize(
    "mark", ["NA", "N/A", "?", "NULL", "null", "None", ".", "-", "\\N", "#N/A", "nan", "#DIV/0!"]
)
def test_a_mark_of_missing_numbers_is_taken_as_such_at_any_share_and_told(mark: str) -> None:
    for every in (3, 300):
        column = texts_of([mark if i % every == every - 1 else str(i % 60) for i in range(900)])
        found = infer_schema(pa.table({"x": [0.5, 1.5] * 450, "age": column}), {})
        feature = found.schema.features[1]
        assert (feature.kind, feature.missing) == (Kind.NUMERIC, (mark,))
        assert "is taken as missing" in found.warnings[0]
        assert "[schema.age]" in found.warnings[0]
        assert found.findings[1].missing == pytest.approx(1 / every)


def test_a_mark_among_categories_is_proposed_and_not_applied() -> None:
    countries = texts_of(["DE", "NA", "FR", "DE"] * 100)
    found = infer_schema(pa.table({"x": MEASURED, "country": countries}), {})
    assert set(found.schema.features[1].categories) == {"DE", "FR", "NA"}
    assert found.schema.features[1].missing == ()
    assert 'missing = ["NA"] in [schema.country]' in found.warnings[0]
    told = infer_schema(
        pa.table({"x": MEASURED, "country": countries}), {"country": ColumnOverride(missing=("NA",))}
    )
    assert set(told.schema.features[1].categories) == {"DE", "FR"}
    assert told.schema.features[1].missing == ("NA",)
    assert told.warnings == ()


def test_no_marks_by_the_configuration_are_none() -> None:
    column = ["NA"] + [str(i % 60) for i in range(399)]
    with pytest.raises(DataError, match="row 1 holds"):
        inferred(texts_of([*column]), ColumnOverride(missing=()))


@pytest.mark.parametrize(
    ("name", "column", "reason"),
    [
        ("mcc", pa.array([5411, 5412, 5413, 5411] * 100), "the name says"),
        ("merchantCode", pa.array([5411.0, 5412.0, None, 742.0] * 100), "the name says"),
        ("branch", pa.array(rng.choice([5411, 5812, 7995, 4829], ROWS)), "far apart"),
        ("a", texts_of(["01067", "80331", "10115", "20095"] * 100), "leading zeros"),
        ("a", texts_of([f"{i % 130:04}" for i in range(ROWS)]), "leading zeros"),
    ],
)
def test_digits_that_are_names_are_proposed_as_codes_and_told(
    name: str, column: pa.Array, reason: str
) -> None:
    found = infer_schema(pa.table({"x": MEASURED, name: column}), {})
    assert found.schema.features[1].kind is Kind.CODE
    assert reason in found.findings[1].why
    assert f'kind = "numeric" in [schema.{name}]' in found.warnings[0]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("elevation", rng.integers(1859, 3858, ROWS)),
        ("year", rng.integers(1990, 2026, ROWS)),
        ("limit", rng.choice([1000, 2500, 5000, 7500], ROWS)),
        ("codeAndComment", rng.integers(0, 40, ROWS)),
        ("code_lines", rng.poisson(30, ROWS)),
        ("price", rng.choice([9, 49, 199, 1099], ROWS)),
    ],
)
def test_amounts_are_not_taken_for_codes(name: str, column: np.ndarray) -> None:
    found = infer_schema(pa.table({"x": MEASURED, name: column}), {})
    assert found.schema.features[1].kind is Kind.NUMERIC
    assert found.warnings == ()


def test_codes_of_one_width_have_their_zeros_put_back_and_others_not() -> None:
    assert inferred(texts_of(["01067", "80331"] * 200)).width == 5
    assert inferred(texts_of(["007", "80331"] * 200)).width == 0
    assert inferred(texts_of(["0107", "8033", "A7", "0107"] * 100), ColumnOverride(kind="code")).width == 4


def test_one_code_is_one_category_however_its_number_is_spelled() -> None:
    column = texts_of(["5411", "5412", "5411.0", "5412.0"] * 100)
    found = infer_schema(
        pa.table({"x": MEASURED, "mcc": column}), {"mcc": ColumnOverride(kind="categorical")}
    )
    assert found.schema.features[1].kind is Kind.CODE
    assert found.schema.features[1].categories == ("5411", "5412")
    assert "'5411.0'" in found.warnings[0]
    flags = inferred(texts_of(["True", "False", "unknown", "True"] * 100))
    assert set(flags.categories) == {"true", "false", "unknown"}


def test_numbers_of_cards_are_left_out_and_never_shown() -> None:
    def card(i: int) -> int:
        body = 411111111110000 + i * 37
        total = sum(sum(divmod(int(d) * (2 - n % 2), 10)) for n, d in enumerate(str(body)))
        return body * 10 + (-total) % 10

    cards = [card(i % 150) for i in range(ROWS)]
    for column in (pa.array(cards), texts_of([str(c) for c in cards])):
        found = infer_schema(pa.table({"x": MEASURED, "pan": column}), {})
        assert found.schema.features[1].kind is Kind.IGNORED
        assert "card numbers" in found.warnings[0]
        assert not any(str(c) in str(found) for c in cards)


def test_card_numbers_in_groups_are_left_out_and_never_shown() -> None:
    cards = ["4111 1111 1111 1111", "5500-0000-0000-0004"]
    inferred = infer_schema(pa.table({"x": rng.normal(size=100), "card": cards * 50}), {})
    finding = inferred.findings[1]
    assert (finding.feature.kind, finding.why) == (Kind.IGNORED, "card numbers")
    assert not any(card in example for card in cards for example in finding.examples)


@pytest.mark.parametrize("distinct", [20, 300])
def test_numbers_of_sixteen_digits_and_more_are_names_and_told(distinct: int) -> None:
    accounts = [10**17 + i % distinct * 7_919 % 10_007 * 10**9 for i in range(300)]
    for values in (pa.array(accounts), pa.array([str(account) for account in accounts])):
        finding = infer_schema(pa.table({"x": rng.normal(size=300), "account": values}), {}).findings[1]
        assert finding.feature.kind is (Kind.CODE if distinct == 20 else Kind.ID)
        assert "16 digits and more" in finding.warnings[0]


def test_days_as_spreadsheets_count_them_are_times_under_the_name_of_a_date() -> None:
    numbers = pa.array([46_053.5 + i for i in range(100)])
    found = infer_schema(pa.table({"x": rng.normal(size=100), "booking date": numbers, "time": numbers}), {})
    assert [feature.format for feature in found.schema.features] == [None, "excel", None]


def test_addresses_are_ids_and_never_shown() -> None:
    found = infer_schema(
        pa.table({"x": MEASURED, "mail": texts_of([f"user{i % 90}@bank.example" for i in range(ROWS)])}), {}
    )
    assert found.schema.features[1].kind is Kind.ID
    assert "user1" not in str(found)


def test_texts_that_all_differ_are_told_from_identifiers() -> None:
    found = inferred(texts_of([f"paid the bill number {i}" for i in range(ROWS)]))
    assert (found.kind, found.reason) == (Kind.IGNORED, "free text: nearly every value is different")


@pytest.mark.parametrize(
    ("column", "form"),
    [
        (["2026-01-31", "2026-02-03T10:00:00Z"], "iso"),
        (["31.01.2026", "01.02.2026"], "dmy"),
        (["01.02.2026 10:00", "03.04.2026 11:00"], "dmy"),
        (["25-Apr-19", "1-May-19"], "dmy"),
        (["Jan 31, 2026", "Feb 1, 2026"], "mdy"),
        (["12/31/2026 9:14 PM", "01/02/2026 9:15 AM"], "mdy"),
        (["09:14:00", "23:59:59"], "clock"),
        (pa.array([0, 86_400], pa.timestamp("s")), "iso"),
        (pa.array([1, 2], pa.date32()), "iso"),
        (pa.array([1, 2], pa.time32("s")), "clock"),
    ],
)
def test_times_are_known_by_their_type_or_their_form(column: object, form: str) -> None:
    array = column if isinstance(column, pa.Array) else pa.array(column)
    found = inferred(pa.concat_arrays([array] * (ROWS // 2)))
    assert (found.kind, found.format) == (Kind.TIME, form)


@pytest.mark.parametrize(
    ("unit", "form"), [(1, "epoch s"), (1_000, "epoch ms"), (10**6, "epoch us"), (10**9, "epoch ns")]
)
def test_numbers_are_times_by_their_name_and_their_size(unit: int, form: str) -> None:
    stamps = pa.array([(1_700_000_000 + 60 * i) * unit for i in range(ROWS)])
    found = infer_schema(pa.table({"x": MEASURED, "created_at": stamps}), {})
    assert found.schema.features[1].format == form
    assert 'kind = "numeric"' in found.warnings[0]
    assert inferred(stamps).kind is Kind.ID  # by another name they count the rows


def test_day_and_month_that_could_change_places_are_warned_of() -> None:
    found = infer_schema(pa.table({"x": MEASURED, "day": texts_of(["01/02/2026", "03/04/2026"] * 200)}), {})
    assert found.schema.features[1].format == "dmy"
    assert '"mdy"' in found.warnings[0]
    told = {"day": ColumnOverride(kind="time", format=TimeFormat.MDY)}
    assert infer_schema(pa.table({"x": MEASURED, "day": texts_of(["01/02/2026"] * 400)}), told).warnings == ()


def test_the_last_of_several_times_is_counted_since_the_others() -> None:
    seconds = np.arange(ROWS) * 3_600
    table = pa.table(
        {
            "x": MEASURED,
            "born_on": pa.array(rng.integers(0, 9_000, ROWS), pa.int32()).cast(pa.date32()),
            "paid_at": pa.array(1_700_000_000 + seconds, pa.timestamp("s")),
        }
    )
    assert infer_schema(table, {}).schema.features[2].since == ("born_on",)
    silenced = infer_schema(table, {"paid_at": ColumnOverride(since=())})
    assert silenced.schema.features[2].since == ()
    with pytest.raises(ConfigError, match="'x' is no other time"):
        infer_schema(table, {"paid_at": ColumnOverride(since=("x",))})


def test_texts_that_are_no_times_cannot_be_told_to_be_some() -> None:
    with pytest.raises(ConfigError, match=r"\[schema.column\]: the column's values are no times of one form"):
        inferred(texts_of(["mon", "tue"] * 200), ColumnOverride(kind="time"))


def test_many_constant_columns_are_told_in_one_line() -> None:
    found = infer_schema(pa.table({"x": MEASURED} | {f"c{i}": [1] * ROWS for i in range(93)}), {})
    assert found.warnings == ("93 columns are left out: constant ('c0', 'c1', 'c2' and 90 more)",)


def test_kinds_of_an_older_schema_go_on_and_an_override_is_above_them() -> None:
    table = pa.table({"x": MEASURED, "mcc": [5411, 5412, 5413, 5411] * 100, "same": [1] * ROWS})
    older = FeatureSchema(
        features=(
            Feature(name="x", kind=Kind.NUMERIC),
            Feature(name="mcc", kind=Kind.NUMERIC),
            Feature(name="same", kind=Kind.IGNORED, reason="constant"),
        )
    )
    assert infer_schema(table, {}, older).schema == older
    above = infer_schema(table, {"mcc": ColumnOverride(kind="code")}, older)
    assert above.schema.features[1].kind is Kind.CODE


def test_the_categories_kept_can_be_set() -> None:
    column = texts_of([f"c{i % 150}" for i in range(900)])
    assert (
        len(
            infer_schema(pa.table({"s": column}), {"s": ColumnOverride(categories=150)})
            .schema.features[0]
            .categories
        )
        == 150
    )


@pytest.mark.parametrize("kind", ["categorical", "code", "boolean"])
def test_what_cannot_be_of_a_kind_is_refused_by_its_column(kind: str) -> None:
    for column in (pa.array(range(ROWS), pa.timestamp("s")), pa.array([[1]] * ROWS)):
        with pytest.raises(ConfigError, match=r"\[schema\.column\]"):
            inferred(column, ColumnOverride.model_validate({"kind": kind}))


@pytest.mark.parametrize("words", [("yes", "no"), ("Y", "N"), ("t", "f")])
def test_yes_and_no_are_true_and_false_where_the_schema_says_so(words: tuple[str, str]) -> None:
    column = texts_of([*words] * 200)
    found = infer_schema(pa.table({"x": MEASURED, "flag": column}), {})
    assert found.schema.features[1].kind is Kind.CATEGORICAL
    assert found.findings[1].others == (Kind.BOOLEAN,)
    told = infer_schema(pa.table({"x": MEASURED, "flag": column}), {"flag": ColumnOverride(kind="boolean")})
    assert [told.schema.features[1].coerce(word) for word in words] == [1.0, 0.0]


def kept(**overrides: ColumnOverride) -> tuple[str, ...]:
    table = pa.table({"measured": MEASURED, "shop": pa.array(["a", "b"] * (ROWS // 2))})
    return infer_schema(table, overrides).schema.kept


def test_a_column_outside_the_model_may_be_kept_with_events_though_the_data_has_it_not() -> None:
    assert kept() == ()
    assert kept(shop=ColumnOverride(kind="ignored", keep=True)) == ("shop",)
    assert kept(url=ColumnOverride(kind="ignored", keep=True)) == ("url",)
    (warning,) = infer_schema(
        pa.table({"measured": MEASURED}), {"url": ColumnOverride(kind="id", keep=True)}
    ).warnings
    assert warning == "column 'url' is not in the data: it is kept with events where requests hold it"


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("shop", ColumnOverride(keep=True), "it was taken for categorical"),
        ("url", ColumnOverride(keep=True), "no column of that name"),
        ("url", ColumnOverride(kind="ignored"), "no column of that name"),
        ("x" * 2_000, ColumnOverride(kind="ignored", keep=True), "1 columns have keep = true"),
    ],
)
def test_a_kept_column_that_is_a_feature_or_a_mistake_is_refused(
    name: str, override: ColumnOverride, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        kept(**{name: override})


def test_a_retraining_keeps_what_was_kept_until_its_recipe_says_otherwise() -> None:
    table = pa.table({"measured": MEASURED, "shop": pa.array(["a", "b"] * (ROWS // 2))})
    overrides = {name: ColumnOverride(kind="ignored", keep=True) for name in ("shop", "url")}
    older = infer_schema(table, overrides).schema
    assert infer_schema(table, {}, older).schema == older
    assert infer_schema(table, overrides, older).schema == older
    less = {"shop": ColumnOverride(keep=False)}
    assert infer_schema(table, less, older).schema.kept == ("url",)
