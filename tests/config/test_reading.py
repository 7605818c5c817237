from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.reading import DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX, read
from tests.config.fake_kinds import write


def codes(path: Path) -> list[str]:
    return [problem.code for problem in read([path])[1]]


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("12", 12),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("y", "y"),
        ("1.2.3", "1.2.3"),
        ("status == 200", "status == 200"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ('"12"', "12"),
        ("'no'", "no"),
        ("127.0.0.1:9090", "127.0.0.1:9090"),
    ],
)
def test_scalars_follow_yaml_1_2(tmp_path: Path, plain: str, value: object) -> None:
    tree, problems = read([write(tmp_path, f"a: {plain}\n")])
    assert problems == []
    assert tree.value == {"a": value}
    assert type(tree.value["a"]) is type(value)


@pytest.mark.parametrize(
    "plain",
    ["no", "on", "Yes", "OFF", "012", "0042", "12:30:00", "1_000", "0b11", "2026-01-01", "190:20:30", "="],
)
def test_what_yaml_1_1_reads_differently_is_refused_not_guessed(tmp_path: Path, plain: str) -> None:
    _, problems = read([write(tmp_path, f"a: {plain}\n")])
    assert [(p.code, p.path, p.line, p.column) for p in problems] == [("ambiguous", "a", 1, 4)]
    assert f'"{plain}"' in problems[0].message


def test_a_key_that_yaml_1_1_reads_as_a_boolean_is_refused(tmp_path: Path) -> None:
    assert codes(write(tmp_path, "on: 1\n")) == ["ambiguous"]


@pytest.mark.parametrize("number", [".nan", ".inf", "-.INF", "1e999", "9" * 400])
def test_numbers_are_finite(tmp_path: Path, number: str) -> None:
    assert codes(write(tmp_path, f"a: {number}\n")) == ["bad-number"]


def test_a_duplicate_names_the_first_line(tmp_path: Path) -> None:
    text = "services:\n  a:\n    checks:\n      home: 1\n      away: 2\n      home: 3\n"
    _, (problem,) = read([write(tmp_path, text)])
    assert problem.code == "duplicate-key"
    assert problem.message.startswith(
        "`home` is defined twice in services.a.checks (first at line 4). Rename or remove one"
    )
    assert (problem.line, problem.column, problem.path) == (6, 7, "services.a.checks.home")


def test_an_entry_in_two_files_is_a_duplicate_and_sections_merge(tmp_path: Path) -> None:
    first = write(tmp_path, "services: {a: 1, b: 2}\nstep: 60s\n", "a.yaml")
    write(tmp_path, "services:\n  c: 3\n  a: 4\n", "b.yml")
    write(tmp_path, "not: read\n", "notes.txt")
    tree, (problem,) = read([tmp_path])
    assert tree.value == {"services": {"a": 1, "b": 2, "c": 3}, "step": "60s"}
    assert f"first at {first}:1" in problem.message
    assert problem.file == str(tmp_path / "b.yml")


def test_a_section_twice_in_one_file_is_a_duplicate(tmp_path: Path) -> None:
    assert codes(write(tmp_path, "services: {a: 1}\nservices: {b: 2}\n")) == ["duplicate-key"]


def test_an_unquoted_reference_inside_braces_is_explained(tmp_path: Path) -> None:
    _, (problem,) = read([write(tmp_path, "a: 1\nb: {token: ${X}}\n")])
    assert problem.message == ('${X} stands unquoted inside { }: its brace ends the mapping. Write "${X}".')
    assert (problem.line, problem.column) == (2, 12)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [1\n", "not-yaml"),
        ("a: \x00\n", "not-yaml"),
        ("a: 1\n---\nb: 2\n", "not-yaml"),
        ("a: *nobody\n", "not-yaml"),
        ("- a\n", "not-a-mapping"),
        ("text\n", "not-a-mapping"),
        ("a: {<<: {b: 1}}\n", "merge-key"),
        ("a: !!python/object/apply:os.system [ls]\n", "bad-tag"),
        ("a: !!str 12\n", "bad-tag"),
        ("a: !secret x\n", "bad-tag"),
        ("? [a]\n: 1\n", "bad-key"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", "too-deep"),
        ("a: " + "[" * 5000 + "\n", "not-yaml"),
        ("a: &a {k: *a}\n", "too-deep"),
    ],
)
def test_what_is_not_a_configuration_is_one_problem(tmp_path: Path, text: str, code: str) -> None:
    assert codes(write(tmp_path, text)) == [code]


def test_an_empty_file_is_an_empty_configuration(tmp_path: Path) -> None:
    tree, problems = read([write(tmp_path, "# nothing yet\n")])
    assert (tree.value, problems) == ({}, [])


def test_aliases_cannot_grow_without_limit(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    tree, problems = read([write(tmp_path, "\n".join(lines) + "\n")])
    assert {problem.code for problem in problems} == {"too-large"}
    assert len(tree.values) < 2 * NODES_MAX
    assert DEPTH_MAX < 100


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    assert codes(write(tmp_path, "# " + "x" * FILE_BYTES_MAX)) == ["too-large"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    _, (problem,) = read([tmp_path / "absent.yaml"])
    assert problem.code == "no-file"
    assert "No such file" in problem.message
    _, (problem,) = read([tmp_path])
    assert problem.code == "no-file"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: \xff\n")
    assert codes(path) == ["not-utf-8"]


def test_a_file_everybody_can_write_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1\n")
    path.chmod(0o666)
    _, (problem,) = read([path])
    assert problem.code == "world-writable"
    assert problem.help == f"chmod o-w {path}"
    path.chmod(0o664)
    assert codes(path) == []


def test_a_folder_everybody_can_write_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a: 1\n")
    tmp_path.chmod(0o777)
    assert codes(tmp_path) == ["world-writable"]
    tmp_path.chmod(0o700)
    assert codes(tmp_path) == []


@settings(max_examples=300)
@given(st.text(alphabet="ab:-[]{}*&!|>'\"#%@`,?~ \n\t0.x=<$", max_size=40))
def test_no_text_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text)
    tree, problems = read([path])
    assert isinstance(tree.value, dict)
    for problem in problems:
        problem.render()
