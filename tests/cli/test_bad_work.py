"""Bad input to the commands that submit and fetch is one sentence on stderr and exit 2, before any request."""

import asyncio
import io
import json
import logging
import socket

import pytest

GOOD = "aqua:e20b07474688ad5001468daf10e501de"
INVOICE = "2c92c8955bd63cc1015bd7c151af02ab"
SECRET = "canary-secret-1a2b3c"
QUERY = ["--query", "select Id from Invoice"]
INTO = ["--into", "into"]
BODY = ["--body", "queries.json"]

FILES = {
    "queries.json": json.dumps({"queries": [{"name": "A", "query": "select Id from Account"}]}),
    "file": "just a file",
    "names.json": json.dumps([{"name": "A", "query": "select 1"}, {"name": "A", "query": "select 2"}]),
    "list.json": json.dumps([{"name": "A"}]),
    "number.json": "5",
    "credit.json": json.dumps({"invoices": [{"invoiceId": INVOICE, "amount": 1}]}),
    "typo.json": json.dumps({"querys": [], "queries": [{"name": "A", "query": "select 1"}]}),
    "many.json": json.dumps({"queries": [{"name": f"q{n}", "query": "select 1"} for n in range(51)]}),
    "negative.json": json.dumps({"invoices": [{"invoiceId": INVOICE, "amount": -1}]}),
    "empty": "# nothing\n\n",
    "ids": f"{INVOICE}\n",
}

CASES: list[tuple[list[str], str]] = [
    # --- export
    (["export", *INTO], "no queries: give some with --query"),
    (["export", *QUERY], "Missing option '--into'"),
    (["export", "--query", "", *INTO], "'' is no query"),
    (["export", "--query", "A=select 1", "--query", "A=select 2", *INTO], "two queries are named 'A'"),
    (["export", "--queries", "names.json", *INTO], "two queries are named 'A'"),
    (["export", "--queries", "nowhere.json", *INTO], "cannot read nowhere.json"),
    (["export", "--queries", "file", *INTO], "file is not JSON"),
    (["export", "--queries", "number.json", *INTO], "number.json has no queries: write"),
    (["export", "--queries", "list.json", *INTO], "list.json: the field 'query' is missing"),
    (["export", *QUERY, *INTO, "--file-format", "xlsx"], "--file-format"),
    (["export", *QUERY, *INTO, "--files", "0"], "--files"),
    (["export", *QUERY, *INTO, "--files", "many"], "--files"),
    (["export", *QUERY, "--into", "file"], "cannot save"),
    (["export", *QUERY, "--into", "file/below"], "cannot save"),
    (["export", *QUERY, "--into", "/proc/nowhere"], "cannot save"),
    (["export", *QUERY, "--into", ""], "folder"),
    (["export", "loose", *QUERY, *INTO], "unexpected extra argument"),
    # --- bulk-pdfs
    (["bulk-pdfs", *INTO], "no ids of documents: give some, or a file of them with --from"),
    (["bulk-pdfs", "--from", "empty", *INTO], "no ids of documents"),
    (["bulk-pdfs", " ", *INTO], "must each have a doc_type"),
    (["bulk-pdfs", INVOICE, *INTO, "--doc-type", ""], "must each have a doc_type"),
    (["bulk-pdfs", INVOICE, *INTO, "--file-name", ""], "file_name must be text that is not blank"),
    (["bulk-pdfs", INVOICE, *INTO, "--file-name", "x" * 33], "Zuora takes 32 at most"),
    (["bulk-pdfs", INVOICE], "Missing option '--into'"),
    (["bulk-pdfs", INVOICE, "--into", "file"], "cannot save"),
    # --- invoices
    (["delete-invoices"], "no invoices: give some"),
    (["delete-invoices", "--from", "empty"], "no invoices: give some"),
    (["delete-invoices", "../jobs/1"], "cannot be the id or number of the invoice"),
    (["delete-invoices", INVOICE, "a?b"], "cannot be the id or number of the invoice"),
    (["delete-invoices", ""], "cannot be the id or number of the invoice"),
    (["delete-invoices", "x" * 129], "cannot be the id or number of the invoice"),
    (["delete-invoices", "--from", "nowhere"], "cannot read nowhere"),
    (["reverse-invoices"], "no invoices: give some"),
    (["reverse-invoices", "a/b"], "cannot be the id or number of the invoice"),
    (["reverse-invoices", INVOICE, "--memo-date", "soon"], "'soon' is no date: write it like 2026-11-24"),
    (["reverse-invoices", "--from", "ids", "--memo-date", "soon"], "zuora-jobs: 'soon' is no date"),
    (["reverse-invoices", INVOICE, "--apply-date", "2026-02-30"], "'2026-02-30' is no date"),
    (["reverse-invoices", INVOICE, "--comment", "x" * 256], "Zuora takes 255 at most"),
    (["reverse-invoices", INVOICE, "--reason-code", " "], "reason_code must be text that is not blank"),
    # --- credit
    (["apply-credit"], "MEMO"),
    (["apply-credit", "CM1"], "no invoices with their amounts: give some"),
    (["apply-credit", "a/b", f"{INVOICE}=1"], "cannot be the id or number of the credit memo"),
    (["apply-credit", "CM1", INVOICE], "write INVOICE=AMOUNT"),
    (["apply-credit", "CM1", "=1"], "write INVOICE=AMOUNT"),
    (["apply-credit", "CM1", f"{INVOICE}="], "'' is no amount"),
    (["apply-credit", "CM1", f"{INVOICE}=1,50"], "'1,50' is no amount"),
    (["apply-credit", "CM1", f"{INVOICE}=0"], "amount must be more than nothing"),
    (["apply-credit", "CM1", f"{INVOICE}=-1"], "amount must be more than nothing"),
    (["apply-credit", "CM1", f"{INVOICE}=NaN"], "amount must be more than nothing"),
    (["apply-credit", "CM1", f"{INVOICE}=Infinity"], "amount must be more than nothing"),
    (["apply-credit", "CM1", f"{INVOICE}=1", "--date", "today"], "'today' is no date"),
    # --- submit
    (["submit"], "KIND"),
    (["submit", "nonsense"], "use one of aqua, bulk-pdf, invoice-delete, invoice-reverse, credit-memo-apply"),
    (["submit", "operation"], "use one of invoice-delete, invoice-reverse"),
    (["submit", "aqua"], "(--body FILE gives the request)"),
    (["submit", "aqua", "--body", "nowhere.json"], "cannot read nowhere.json"),
    (["submit", "aqua", "--body", "file"], "file is not JSON"),
    (["submit", "aqua", "--body", "names.json"], "expected an object, got a list"),
    (["submit", "aqua", "--body", "typo.json"], "querys"),
    (["submit", "aqua", "--body", "many.json"], "50 at a time: split them"),
    (["submit", "aqua", *BODY, "--key", INVOICE], "aqua is about no business object, so it takes no --key"),
    (["submit", "invoice-delete"], "(--key gives invoiceKey)"),
    (["submit", "invoice-delete", "--key", "../x"], "cannot be the id or number of the invoice"),
    (["submit", "invoice-delete", "--key", ""], "cannot be the id or number of the invoice"),
    (["submit", "credit-memo-apply", "--body", "credit.json"], "(--key gives creditMemoKey)"),
    (["submit", "credit-memo-apply", "--key", "CM1"], "'invoices' is missing"),
    (["submit", "credit-memo-apply", "--key", "CM1", "--body", "negative.json"], "amount must be more than nothing"),
    (["submit", "credit-memo-apply", "--body", "number.json"], "expected an object, got a number"),
    (["submit", "credit-memo-apply", "--key", "CM1", "--body", "number.json"], "expected an object, got a number"),
    (["submit", "invoice-delete", "--key", "x", "--idempotency-key", "k"], "takes no Idempotency-Key"),
    (["submit", "aqua", *BODY, "--idempotency-key", ""], "1 to 255 visible ASCII characters"),
    (["submit", "aqua", *BODY, "--idempotency-key", "a\nb"], "1 to 255 visible ASCII characters"),
    (["submit", "aqua", *BODY, "--idempotency-key", "k" * 256], "1 to 255 visible ASCII characters"),
    (["submit", "aqua", *BODY, "--again"], "--journal"),
    (["submit", "aqua", *BODY, "--download", "file"], "cannot save"),
    (["submit", "aqua", *BODY, "--download", ""], "folder"),
    # --- download, and watch
    (["download", *INTO], "no handles"),
    (["download", GOOD], "Missing option '--into'"),
    (["download", "nonsense", *INTO], "write kind:id"),
    (["download", "aqua:../x", *INTO], "cannot be the id"),
    (["download", "--from", "empty", *INTO], "no handles"),
    (["download", GOOD, "--into", "file"], "cannot save"),
    (["download", GOOD, *INTO, "--files", "-1"], "--files"),
    (["watch", GOOD, "--download", "file"], "cannot save"),
    (["watch", GOOD, "--download", ""], "folder"),
]

WORKS: dict[str, list[str]] = {
    "export": ["export", *QUERY, *INTO],
    "bulk-pdfs": ["bulk-pdfs", INVOICE, *INTO],
    "delete-invoices": ["delete-invoices", INVOICE],
    "reverse-invoices": ["reverse-invoices", INVOICE],
    "apply-credit": ["apply-credit", "CM1", f"{INVOICE}=1"],
    "submit": ["submit", "aqua", *BODY],
    "download": ["download", GOOD, *INTO],
}

SHARED: list[tuple[list[str], str]] = [
    (["--timeout", "0"], "--timeout"),
    (["--timeout", "nan"], "--timeout"),
    (["--rate", "0"], "rate"),
    (["--concurrency", "0"], "concurrency"),
    (["--format", "xml"], "--format"),
    (["--journal", "file"], "is no journal"),
    (["--journal", "nowhere/run.db"], "nowhere"),
    (["--journal", "."], "is a folder"),
    (["--base-url", "http://rest.zuora.com"], "not https"),
    (["--environment", "mars"], "unknown environment 'mars'"),
    (["--no-such-option"], "--no-such-option"),
]


@pytest.fixture
def said(capsys, monkeypatch, tmp_path):
    """Run the command here, where a socket that is opened is an error of the test; give the sentence."""
    from zuora_jobs.cli.app import run

    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    for name in ("ACCESS_TOKEN", "ENVIRONMENT", "TRACK_ID", "ENTITY_ID", "ORG_IDS"):
        monkeypatch.delenv(f"ZUORA_{name}", raising=False)
    usual = {"BASE_URL": "https://rest.zuora.com", "CLIENT_ID": "me", "CLIENT_SECRET": SECRET}
    for name, value in usual.items():
        monkeypatch.setenv(f"ZUORA_{name}", value)
    logger = logging.getLogger("zuora_jobs")
    level, handlers = logger.level, logger.handlers[:]

    def say(typed: list[str], *, stdin: bytes = b"") -> str:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = run(typed)
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), err
        assert err.startswith("zuora-jobs: ")
        assert err.count("\n") == 1, "one sentence, on one line"
        assert SECRET not in err
        assert not (tmp_path / "into").exists() or not list((tmp_path / "into").iterdir())
        return str(err)

    yield say
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.mark.parametrize(("typed", "says"), CASES, ids=[f"{number}: {case[1]}" for number, case in enumerate(CASES)])
def test_bad_input_is_a_sentence_and_exit_2(said, typed, says):
    assert says in said(typed)


@pytest.mark.parametrize(("option", "says"), SHARED, ids=[" ".join(option) for option, _ in SHARED])
@pytest.mark.parametrize("command", WORKS)
def test_every_commands_shared_options_are_checked(said, command, option, says):
    assert says in said([*WORKS[command], *option])


@pytest.mark.parametrize("command", WORKS)
def test_no_credentials_are_a_sentence(said, monkeypatch, command):
    monkeypatch.delenv("ZUORA_CLIENT_ID")
    monkeypatch.delenv("ZUORA_CLIENT_SECRET")
    assert "no credentials" in said(WORKS[command])


GOOD_LINES = {
    "delete-invoices": ("INV{}", "a/b", "cannot be the id or number of the invoice"),
    "reverse-invoices": ("INV{}", "a b", "cannot be the id or number of the invoice"),
    "apply-credit CM1": ("INV{}=1.50", "INV17", "write INVOICE=AMOUNT"),
    "download --into into": ("aqua:job-{}", "aqua/what", "'aqua/what' is no handle"),
}


@pytest.mark.parametrize("source", ["listed", "-"], ids=["file", "stdin"])
@pytest.mark.parametrize("command", GOOD_LINES)
def test_a_file_with_a_bad_line_17_says_so(said, tmp_path, command, source):
    good, bad, says = GOOD_LINES[command]
    lines = ["# a remark", "", *(good.format(number) for number in range(28))]
    lines[16] = bad
    text = "\n".join(lines)
    (tmp_path / "listed").write_text(text)
    sentence = said([*command.split(), "--from", source], stdin=text.encode())
    assert f"{'standard input' if source == '-' else 'listed'}, line 17: " in sentence
    assert says in sentence


@pytest.mark.parametrize(
    "typed", [["submit", "aqua", "--body", "-"], ["export", *INTO, "--queries", "-"]], ids=lambda typed: typed[0]
)
@pytest.mark.parametrize(
    ("stdin", "says"),
    [(b"", "standard input"), (b'{"queries": ', "standard input is not JSON"), (b"\xff\xfe", "not text in UTF-8")],
    ids=["nothing", "half", "binary"],
)
def test_what_is_no_request_on_standard_input_is_named_so(said, typed, stdin, says):
    assert says in said(typed, stdin=stdin)


@pytest.mark.parametrize("value", ["5", "true", "null", "[]", '"text"', "0.5"])
@pytest.mark.parametrize("key", [[], ["--key", "CM1"]], ids=["no key", "key"])
def test_a_body_that_is_no_object_is_refused_whatever_it_is(said, value, key):
    sentence = said(["submit", "credit-memo-apply", "--body", "-", *key], stdin=value.encode())
    assert "expected an object" in sentence
