"""Bad input is one sentence on stderr and exit 2, before any request."""

import logging

import pytest

GOOD = "aqua:e20b07474688ad5001468daf10e501de"
TOKEN = "canary-token-9f8e7d"
SECRET = "canary-secret-1a2b3c"

CASES = [
    # what is typed, what the environment adds or (None) lacks, what the sentence says
    (["watch"], {}, "no handles"),
    (["watch", "nonsense"], {}, "write kind:id"),
    (["watch", "invoice:abc"], {}, "use one of operation, bulk-pdf, aqua, credit-memo-apply"),
    (["watch", "aqua:"], {}, "cannot be the id"),
    (["watch", "aqua:../../v1/object/invoice/x"], {}, "cannot be the id"),
    (["watch", "aqua:a?b=c"], {}, "cannot be the id"),
    (["watch", "aqua:a%2Fb"], {}, "cannot be the id"),
    (["watch", "aqua:ä"], {}, "cannot be the id"),
    (["watch", "aqua:" + "a" * 129], {}, "cannot be the id"),
    (["watch", GOOD, "--from", "/no/such/file"], {}, "cannot read /no/such/file"),
    (["watch", GOOD, "--rate", "0"], {}, "rate"),
    (["watch", GOOD, "--rate", "nan"], {}, "rate"),
    (["watch", GOOD, "--rate", "fast"], {}, "--rate"),
    (["watch", GOOD, "--concurrency", "0"], {}, "concurrency"),
    (["watch", GOOD, "--timeout", "-1"], {}, "--timeout"),
    (["watch", GOOD, "--timeout", "soon"], {}, "--timeout"),
    (["watch", GOOD, "--format", "xml"], {}, "--format"),
    (["watch", GOOD, "--no-such-option"], {}, "--no-such-option"),
    (["nonsense"], {}, "nonsense"),
    (["watch", GOOD], {"ZUORA_BASE_URL": None}, "set ZUORA_BASE_URL, or ZUORA_ENVIRONMENT"),
    (["watch", GOOD], {"ZUORA_BASE_URL": "http://rest.zuora.com"}, "not https"),
    (["watch", GOOD], {"ZUORA_BASE_URL": "ftp://rest.zuora.com"}, "not an https address"),
    (["watch", GOOD], {"ZUORA_BASE_URL": "https://"}, "not an https address"),
    (["watch", GOOD, "--base-url", "https://a:b@rest.zuora.com"], {}, "must not carry a user"),
    (["watch", GOOD, "--environment", "mars"], {}, "unknown environment 'mars'"),
    (["watch", GOOD, "--environment", "prod", "--base-url", "https://rest.zuora.com"], {}, "not both"),
    (["watch", GOOD], {"ZUORA_ENVIRONMENT": "prod-eu"}, "name different tenants"),
    (["watch", GOOD], {"ZUORA_CLIENT_ID": None, "ZUORA_CLIENT_SECRET": None}, "no credentials"),
    (["watch", GOOD], {"ZUORA_CLIENT_SECRET": None}, "client_secret is missing"),
    (["watch", GOOD], {"ZUORA_CLIENT_ID": None}, "client_id is missing"),
    (["watch", GOOD], {"ZUORA_ACCESS_TOKEN": TOKEN}, "not both"),
    (["watch", GOOD], {"ZUORA_CLIENT_SECRET": SECRET + " x"}, "was it copied whole"),
    (["watch", GOOD], {"ZUORA_TRACK_ID": "2024-01-01T10:00:00"}, "track id"),
    (["watch", GOOD], {"ZUORA_TRACK_ID": "x" * 65}, "65 characters"),
    (["watch", GOOD], {"ZUORA_ENTITY_ID": "ünicode"}, "entity_id"),
    (["invoice", "../jobs"], {}, "cannot be the id of an invoice"),
    (["invoice", "abc", "--fields", "Id,Bal ance"], {}, "cannot be the name of an invoice's field"),
    (["invoice", "abc", "--fields", ""], {}, "cannot be the name of an invoice's field"),
    (["cancel", "operation:abc"], {}, "cannot be cancelled"),
    (["cancel"], {}, "no handles"),
    (["emulate", "--host", "0.0.0.0"], {}, "no loopback address"),
    (["emulate", "--port", "99999"], {}, "--port"),
]


@pytest.fixture
def logging_as_it_was():
    logger = logging.getLogger("zuora_jobs")
    level, handlers = logger.level, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.mark.parametrize(
    ("typed", "environ", "says"), CASES, ids=[f"{number}: {case[2]}" for number, case in enumerate(CASES)]
)
def test_bad_input_is_a_sentence_and_exit_2(capsys, monkeypatch, logging_as_it_was, typed, environ, says):
    """In this process, where a socket that is opened is an error of the test."""
    import asyncio
    import socket

    from zuora_jobs.cli.app import run

    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    usual = {"ZUORA_BASE_URL": "https://rest.zuora.com", "ZUORA_CLIENT_ID": "me", "ZUORA_CLIENT_SECRET": SECRET}
    for name in ("ZUORA_ACCESS_TOKEN", "ZUORA_ENVIRONMENT", "ZUORA_TRACK_ID", "ZUORA_ENTITY_ID", "ZUORA_ORG_IDS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**usual, **environ}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    status = run(typed)
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert says in err
    assert err.startswith("zuora-jobs: ")
    assert err.count("\n") == 1, "one sentence, on one line"
    assert TOKEN not in err
    assert SECRET not in err


async def test_a_file_with_a_bad_line_17_says_so(run, tmp_path):
    lines = [f"aqua:job-{number}" for number in range(30)]
    lines[16] = "aqua/what"
    listed = tmp_path / "handles.txt"
    listed.write_text("\n".join(lines))
    ran = await run("watch", "--from", str(listed))
    assert ran.status == 2
    assert f"{listed}, line 17: 'aqua/what' is no handle" in ran.err


async def test_a_file_that_is_no_text_is_refused(run, tmp_path):
    listed = tmp_path / "handles.bin"
    listed.write_bytes(b"\xff\xfe\x00")
    ran = await run("watch", "--from", str(listed))
    assert (ran.status, ran.out) == (2, "")
    assert "not text in UTF-8" in ran.err


async def test_an_empty_file_is_refused(run):
    ran = await run("watch", "--from", "-", stdin="# nothing\n")
    assert ran.status == 2
    assert "no handles" in ran.err


async def test_a_scenario_that_cannot_be_read_is_refused(run):
    ran = await run("emulate", "--scenario", "/no/such/file.toml")
    assert (ran.status, ran.out) == (2, "")
    assert "/no/such/file.toml" in ran.err
    assert ran.err.count("\n") == 1


async def test_a_port_in_use_is_a_sentence(zuora, run):
    ran = await run("emulate", "--port", zuora.url.rsplit(":", 1)[1])
    assert ran.status == 2
    assert "cannot listen on" in ran.err
    assert "Traceback" not in ran.err


async def test_without_the_extra_the_command_says_what_to_install(run, tmp_path):
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError(name='click')")
    ran = await run("kinds", environ={"PYTHONPATH": str(tmp_path)}, imported_anew=True)
    assert ran.status == 1
    assert "pip install 'zuora_jobs[cli]'" in ran.err
