"""What a person reads is what there is: nothing that others wrote is taken for markup."""

import pytest
import typer

from vai_app.cli.context import explained
from vai_app.cli.output import print_json, print_table
from vai_app.domain.errors import Conflict, InvalidRequest, ServiceUnavailable, Unauthenticated, VaiError

BRACKETS = "disk [datastore1] web/web.vmdk [/] [red]"


def test_a_table_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Machines", ("name", "problem"), [("web-1", BRACKETS)])
    assert BRACKETS in capsys.readouterr().out


def test_json_is_the_value_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"problem": BRACKETS})
    assert capsys.readouterr().out == '{\n  "problem": "disk [datastore1] web/web.vmdk [/] [red]"\n}\n'


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Conflict(BRACKETS), 1),
        (VaiError(BRACKETS), 1),
        (InvalidRequest(BRACKETS), 2),
        (ServiceUnavailable(BRACKETS), 3),
        (Unauthenticated(BRACKETS), 3),
    ],
)
def test_an_error_is_a_sentence_and_an_exit_code(
    error: VaiError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, explained():
        raise error
    assert ended.value.exit_code == code
    assert capsys.readouterr().err == f"{error.title}. {BRACKETS}\n"
