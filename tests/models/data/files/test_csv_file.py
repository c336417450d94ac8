"""CSV files in the shapes that people's programs write."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.data.files.options import file_format
from nearnorm.models.data.files.read import read_table
from nearnorm.models.errors import ConfigError, DataError


def read(path: Path, content: bytes, *as_text: str, **given: str) -> tuple[pa.Table, list[str]]:
    path.write_bytes(content)
    warnings: list[str] = []
    return read_table(str(path), as_text, FileFormat(**given), warnings.append), warnings


EUROPEAN = "Händler;Betrag\r\nMüller;1.234,50\r\nJosé;12,25\r\nMir;3,00\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_a_european_export_is_read_in_the_encoding_that_it_has(tmp_path: Path, encoding: str) -> None:
    table, warnings = read(tmp_path / "a.csv", EUROPEAN.encode(encoding))
    assert table.to_pydict() == {"Händler": ["Müller", "José", "Mir"], "Betrag": [1234.5, 12.25, 3.0]}
    assert "separator ';', decimal sign ','" in warnings[0]
    assert ("encoding cp1252" in warnings[0]) == (encoding == "cp1252")
    assert "--csv-separator, --csv-decimal, --csv-encoding" in warnings[0]


def test_a_sign_that_is_no_utf_8_far_from_the_beginning_is_found_too(tmp_path: Path) -> None:
    content = "a,b\n" + "1,x\n" * 200_000 + "2,é\n"
    table, warnings = read(tmp_path / "a.csv", content.encode("latin-1"))
    assert table["b"][-1].as_py() == "é"
    assert "encoding cp1252" in warnings[0]


def test_text_that_no_guess_fits_names_the_option_and_the_option_reads_it(tmp_path: Path) -> None:
    content = "a,b\n1,Аист\n2,Ё\n".encode("cp1251").replace(b"\xa8", b"\x81")
    with pytest.raises(DataError, match="neither UTF-8 nor cp1252 text: give --csv-encoding"):
        read(tmp_path / "a.csv", content)
    table, warnings = read(tmp_path / "a.csv", "a,b\n1,Аист\n2,Я\n".encode("cp1251"), encoding="cp1251")
    assert table["b"].to_pylist() == ["Аист", "Я"]
    assert not warnings
    with pytest.raises(DataError, match="is not written in utf-8"):
        read(tmp_path / "a.csv", content, encoding="utf-8")
    with pytest.raises(ConfigError, match="--csv-encoding klingon is no encoding"):
        read(tmp_path / "a.csv", content, encoding="klingon")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found_and_excels_own_line_is_believed(tmp_path: Path, separator: str) -> None:
    rows = [["x", "s"], ["1.5", "a"], ["2.5", "b"]]
    content = "\n".join(separator.join(row) for row in rows).encode()
    expected = {"x": [1.5, 2.5], "s": ["a", "b"]}
    assert read(tmp_path / "a.csv", content)[0].to_pydict() == expected
    assert read(tmp_path / "b.csv", f"sep={separator}\n".encode() + content)[0].to_pydict() == expected


def test_commas_in_a_semicolon_file_s_header_and_numbers_do_not_mislead(tmp_path: Path) -> None:
    content = b"Preis, EUR;Gewicht, kg;label\n12,50;3,1;0\n1,50;2,1;1\n"
    table, _ = read(tmp_path / "a.csv", content)
    assert table.to_pydict() == {"Preis, EUR": [12.5, 1.5], "Gewicht, kg": [3.1, 2.1], "label": [0, 1]}


def test_what_is_given_is_not_looked_for(tmp_path: Path) -> None:
    table, _ = read(tmp_path / "a.csv", b"a,b;c\n1,2;3\n", separator=";")
    assert table.column_names == ["a,b", "c"]
    table, _ = read(tmp_path / "a.csv", b"a;b\n1,234;x\n2,500;y\n", decimal=".")
    assert table["a"].to_pylist() == [1234, 2500]
    table, _ = read(tmp_path / "a.csv", b"a;b\n1,234;x\n2,500;y\n")
    assert table["a"].to_pylist() == [1.234, 2.5]
    table, _ = read(tmp_path / "a.csv", b"a,b\n~1,5~,~x~\n", quote="~")
    assert table.to_pydict() == {"a": [1.5], "b": ["x"]}


def test_single_quotes_around_every_name_are_quotes(tmp_path: Path) -> None:
    table, _ = read(tmp_path / "a.csv", b"'a','b'\n'x,1','2'\n'y','4'\n")
    assert table.to_pydict() == {"a": ["x,1", "y"], "b": [2, 4]}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_breaks_within_quotes_are_read_at_any_size(tmp_path: Path, ending: str) -> None:
    row = f'1.5,"{"x" * 40}{ending}second line",7{ending}'
    table, _ = read(tmp_path / "a.csv", (f"amount,note,n{ending}" + row * 400_000).encode())
    assert table.num_rows == 400_000
    assert table["note"].unique().to_pylist() == ["x" * 40 + "\nsecond line"]
    assert table["n"].unique().to_pylist() == [7]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_packed_files_are_unpacked_and_cut_ones_refused(tmp_path: Path, codec: str) -> None:
    content = b"x,s\n" + b"".join(b"%d,a\n" % (i * i % 7919) for i in range(90_000))
    packed = gzip.compress(content) if codec == "gzip" else pa.compress(content, codec, asbytes=True)
    path = tmp_path / {"gzip": "a.csv.gz", "zstd": "a.csv.zst"}[codec]
    assert read(path, packed)[0].num_rows == 90_000
    with pytest.raises(DataError, match=r"a\.csv\.\w+ cannot be read"):
        read(path, packed[: len(packed) // 2])


def test_money_percents_and_thousands_are_numbers_and_said_to_be(tmp_path: Path) -> None:
    content = 'price,rate,sum\n€12.50,12%,"1,234.5"\n-€3.10,3%,99\n'
    table, warnings = read(tmp_path / "a.csv", content.encode())
    assert table.to_pydict() == {"price": [12.5, -3.1], "rate": [12.0, 3.0], "sum": [1234.5, 99.0]}
    assert warnings[0] == (
        "column 'price' is read as numbers: '€12.50' as 12.5; if these are names, "
        'set kind = "categorical" in [schema.price]'
    )


def test_names_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    names = ["TXN1001", "192.168.100.200", "555 123 456", "12.05.2024", "1,2,3", "V57", "007"]
    others = ["TXN1002", "192.168.100.201", "555 123 457", "13.05.2024", "1,2,4", "250.83", "010"]
    content = "".join(f'"{a}","{b}"\n' for a, b in [*zip(names, others, strict=True)])
    for first, second in zip(names, others, strict=True):
        table, _ = read(tmp_path / "a.csv", f'a,b\n"{first}",1\n"{second}",2\n'.encode())
        assert table["a"].to_pylist() == [first, second], content
    declared, _ = read(tmp_path / "a.csv", b"a;b\n12,50;1\n", "a")
    assert declared["a"].to_pylist() == ["12,50"]


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        (["1.50", "(2.25)", "(1,000.00)"], [1.5, -2.25, -1000.0]),
        (["1,50", "2,25-", "1.000,00-"], [1.5, -2.25, -1000.0]),
        (["7", "(8)", "9"], [7.0, -8.0, 9.0]),
        (["10'869", "25'066", "6'794"], [10_869.0, 25_066.0, 6794.0]),
        (["1 929,007 EUR", "544,388 EUR", "7,250 EUR"], [1929.007, 544.388, 7.25]),
        (["1.583,99", ",53", "-,5"], [1583.99, 0.53, -0.5]),
        (["2,82E+03", "9,4e-2", "12.100,5"], [2820.0, 0.094, 12_100.5]),
        (["1,23,456.50", "12,34,567.00", "7.00"], [123_456.5, 1_234_567.0, 7.0]),
    ],
)
def test_numbers_are_read_as_bookkeepers_and_other_countries_write_them(
    tmp_path: Path, written: list[str], numbers: list[float]
) -> None:
    content = "a;b\n" + "".join(f"{text};x\n" for text in written)
    table, warnings = read(tmp_path / "a.csv", content.encode())
    assert table["a"].to_pylist() == numbers
    assert any(f"{max(written, key=len)!r} as" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        (["1.360;3,5", "879;2,5", "2.088;1,25"], [1360.0, 879.0, 2088.0]),
        (["1.360;a", "879;b", "2.088;c"], [1360.0, 879.0, 2088.0]),
        (["1,360;a", "879;b", "2,088;c"], [1360.0, 879.0, 2088.0]),
        (["1.234.567;a", "879;b", "2.088;c"], [1_234_567.0, 879.0, 2088.0]),
        (["0.370;3,5", "0.879;2,5", "2.088;1,25"], [0.37, 0.879, 2.088]),
        (
            ["2.370;3,5", "3.879;2,5", *["2.088;1,25"] * 300, "0.088;1,5"],
            [2.37, 3.879, *[2.088] * 300, 0.088],
        ),
        (["1.361;a", "879;b", "2.088;c"], [1.361, 879.0, 2.088]),
        (["1.360;a", "0.879;b", "2;c"], [1.36, 0.879, 2.0]),
        (["1.360;a", "1879;b", "2.088;c"], [1.36, 1879.0, 2.088]),
        (["1.360;a"] + ["879;b"] * 300 + ["12.5;c"], [1.36, *[879.0] * 300, 12.5]),
    ],
)
def test_points_that_group_thousands_are_no_decimal_points(
    tmp_path: Path, written: list[str], numbers: list[float]
) -> None:
    table, warnings = read(tmp_path / "a.csv", ("a;b\n" + "\n".join(written) + "\n").encode())
    assert [float(number) for number in table["a"].to_pylist()] == numbers
    if max(numbers) > 1000 and "1879" not in str(written):
        assert any("column 'a' is read as numbers" in warning for warning in warnings)


def test_columns_without_a_name_or_a_value_are_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", b"a;b;;\n1;x;;\n2;y;;\n")[0].to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    assert read(tmp_path / "a.csv", b",a\n7,1\n8,2\n")[0].to_pydict() == {"": [7, 8], "a": [1, 2]}
    with pytest.raises(DataError, match=r"a\.csv has columns without a name \(2\): name them"):
        read(tmp_path / "a.csv", b"a,,\n1,2,3\n")


def test_points_that_may_group_thousands_are_told_with_the_mend(tmp_path: Path) -> None:
    content = b"a;b\n13.780;7\n2.088;8\n"
    table, warnings = read(tmp_path / "a.csv", content)
    assert table["a"].to_pylist() == [13.78, 2.088]
    assert warnings[1] == (
        "column 'a' is read with a decimal point: '13.780' as 13.78; if points "
        "group thousands, give --csv-decimal ,"
    )
    assert read(tmp_path / "a.csv", content, decimal=",")[0]["a"].to_pylist() == [13_780.0, 2088.0]
    assert len(read(tmp_path / "a.csv", content, decimal=".")[1]) == 1
    beside_short_ones = b"a,b\n13.781,7\n867,8\n"
    assert "'13.781' as 13.781; if points group" in read(tmp_path / "b.csv", beside_short_ones)[1][0]
    assert not read(tmp_path / "c.csv", b"a,b\n13.781,7\n2.088,8\n")[1]


def test_words_for_nothing_beside_decimal_commas_do_not_hide_them(tmp_path: Path) -> None:
    table, warnings = read(tmp_path / "a.csv", b"a;b\n1.234,50;x\nNULL;y\n7,25;z\n")
    assert table["a"].to_pylist() == ["1234.5", "NULL", "7.25"]
    assert "decimal sign ','" in warnings[0]


def test_digits_beyond_what_a_number_keeps_stay_text_where_all_have_as_many(tmp_path: Path) -> None:
    accounts = [str(10**19 + 7 * i) for i in range(5)]
    amounts = [str(10 ** (14 + 2 * i)) for i in range(5)]
    lines = "".join(map("{},{}\n".format, accounts, amounts))
    table, _ = read(tmp_path / "a.csv", f"account,wei\n{lines}".encode())
    assert table["account"].to_pylist() == accounts
    assert table["wei"].to_pylist() == [float(amount) for amount in amounts]


def test_a_first_line_that_is_a_record_is_told(tmp_path: Path) -> None:
    _, warnings = read(tmp_path / "a.csv", b"1.5,2\n2.5,3\n")
    assert "a.csv has numbers for names (1.5, 2): add a line of names" in warnings[0]
    assert not read(tmp_path / "a.csv", b"0,1\n2.5,3\n")[1]


def test_a_workbook_and_a_file_of_nothing_are_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a workbook or a zip archive: save it as CSV"):
        read(tmp_path / "a.csv", b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path / "a.csv", b"\n\r\n")


@pytest.mark.parametrize(
    "content",
    [
        '{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n',
        '\ufeff[\n {"a": 1}]',
        '<?xml version="1.0"?><a/>',
        "<!DOCTYPE html>",
    ],
)
def test_json_and_markup_are_refused_as_such(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"a\.csv holds JSON, XML or a web page: save its records as CSV"):
        read(tmp_path / "a.csv", content.encode())
    assert read(tmp_path / "b.csv", b"<DATE>,[x]\n1,2\n")[0].column_names == ["<DATE>", "[x]"]


def test_decimal_commas_beside_a_few_words_become_points_beside_them(tmp_path: Path) -> None:
    table, _ = read(tmp_path / "a.csv", b"a;b\n12,5;1\nNA;2\n13,25;3\n")
    assert table["a"].to_pylist() == ["12.5", "NA", "13.25"]


def test_a_row_with_other_fields_than_the_header_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3 has 3 fields where the header has 2, separated by ','"):
        read(tmp_path / "a.csv", b"a,b\n1,2\n3,4,5\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((";;", None, None, None), "--csv-separator ';;': give one ASCII character"),
        ((None, None, "'", None), '--csv-decimal "\'": give a point or a comma'),
        ((",", None, ",", None), "--csv-separator ',' cannot be the quote or the decimal sign too"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("'", ".")):
        file_format(*options)
    assert file_format("tab", None, None, None).separator == "\t"
