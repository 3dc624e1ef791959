"""The server answers its own page alone, gives up what nobody waits for, and ends clean."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

import fastcart
from fastcart.errors import InputError
from fastcart.exploring.models import ModelExplorer
from fastcart.exploring.newest import Newest
from fastcart.exploring.opening import Chosen, open_server
from fastcart.exploring.server import ExplorerServer
from fastcart.solvers import compile_clock
from fastcart.solvers.threads import Stop, StoppedError

SMALL = {"patients": 5, "times": 4, "spread": {"rho_L": 0.1}}


@contextmanager
def running(server: ExplorerServer) -> Iterator[ExplorerServer]:
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server():
    with running(open_server(Chosen(model="leon_triana"))) as server:
        yield server


def asked(server, method, path, body=None, **headers):
    """Return status, headers and body; a header of None is left off."""
    port = server.server_address[1]
    known = {"Host": f"127.0.0.1:{port}", "X-Token": server.token}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    payload = None if body is None else json.dumps(body).encode()
    if payload is not None:
        known["Content-Length"] = str(len(payload))
    known |= headers
    for name, value in known.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(payload)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def post(server, action, given, **headers):
    return asked(server, "POST", f"/{action}", given, **headers)


def wait_until(what, seconds=30.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("number", ["abc", "-1", "1.5", "%C2%B2", "9" * 5000])
def test_what_does_not_count_questions_is_told(server, number):
    status, _, body = asked(server, "POST", f"/solve?page=p&number={number}", SMALL)
    assert status == 400
    assert body.startswith(b"The number of a question must be a whole number from 0 on, not ")


@pytest.mark.parametrize("length", ["\u00b2", "-1", "1e3", "9" * 5000, None])
def test_a_length_that_is_none_is_told(server, length):
    status, _, body = asked(server, "POST", "/solve", **{"Content-Length": length})
    assert (status, body) == (400, b"A question has at most 4000000 bytes.\n")


def test_what_nests_for_ever_is_told(server):
    nested = b"[" * 100_000
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/solve", nested, {"X-Token": server.token})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (400, b"A question must be an object of JSON.\n")
    connection.close()


def test_for_how_long_was_compiled_is_told_while_another_question_waits(server):
    status, headers, body = post(server, "compiled", {})
    assert (status, headers["Content-Type"]) == (200, "application/json")
    first = json.loads(body)
    with compile_clock.compiling():
        time.sleep(0.02)
        assert json.loads(post(server, "compiled", {})[2]) >= first + 0.02
    assert post(server, "compiled", {}, **{"X-Token": "wrong"})[0] == 403


# --- who may ask --------------------------------------------------------------------------------------------


def test_it_is_bound_to_this_machine(server):
    assert server.server_address[0] == "127.0.0.1"


def test_the_page_comes_with_the_token_alone(server):
    status, headers, body = asked(server, "GET", f"/?token={server.token}", **{"X-Token": None})
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    nonce = re.search(r"script-src 'nonce-([^']+)'", headers["Content-Security-Policy"])[1]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    text = body.decode()
    elements = re.findall(r"<(?:script|style)[^>]*>", text)
    assert len(elements) == 3
    assert all(f'nonce="{nonce}"' in element for element in elements)
    assert not re.search(r'<\w+[^>]*\s(?:src|href|style)\s*=|url\(|@import|\bon\w+="', text)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text.split('id="facts"')[0])
    again = asked(server, "GET", f"/?token={server.token}")[1]["Content-Security-Policy"]
    assert nonce not in again


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/?token=é", "/page", "/../server.py"])
def test_without_the_token_there_is_no_page(server, path):
    assert asked(server, "GET", path.replace("é", "%C3%A9"), **{"X-Token": None})[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Token": None},
        {"X-Token": ""},
        {"X-Token": "wrong"},
        {"Host": "evil.example"},
        {"Host": None},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
    ],
)
def test_a_wrong_token_host_or_origin_is_forbidden(server, headers):
    assert post(server, "solve", SMALL, **headers)[0] == 403
    if "X-Token" not in headers:
        assert asked(server, "GET", f"/?token={server.token}", **headers)[0] == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_own_origin_is_allowed(server, name):
    host = f"{name}:{server.server_address[1]}"
    assert post(server, "solve", SMALL, Host=host, Origin=f"http://{host}")[0] == 200


def test_other_methods_and_places_are_not_there(server):
    assert asked(server, "PUT", "/solve", SMALL)[0] == 501
    assert post(server, "facts", {})[0] == 400
    assert post(server, "__class__", {})[0] == 400


# --- answers ------------------------------------------------------------------------------------------------


def test_every_action_answers(server):
    status, headers, body = post(server, "solve", SMALL)
    assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
    assert b'"ok": 5' in body
    assert b"rho_L" in post(server, "python", SMALL)[2]
    toml = post(server, "toml", SMALL)[2].decode()
    assert json.loads(post(server, "load", {"text": toml})[2])["spread"] == {"rho_L": 0.1}
    points = json.loads(post(server, "measured", {"text": "time,L\n1,2\n"})[2])
    assert points == [{"quantity": "L", "time": [1.0], "value": [2.0]}]


def test_bad_questions_get_a_sentence(server):
    status, _, body = post(server, "solve", {"patients": 0})
    assert status == 400
    assert body.decode().startswith("The number of patients must be")
    assert post(server, "solve", [1])[0] == 400
    assert asked(server, "POST", "/solve")[0] == 400  # no length
    assert post(server, "solve", {}, **{"Content-Length": "99999999999"})[0] == 400


def test_a_page_may_change_to_shipped_models_and_to_no_file(server):
    assert asked(server, "POST", "/toml?model=kimmel", {})[2].splitlines()[1] == b'model = "kimmel"'
    for name in ("kimel", "../secret.py:model", "/etc/passwd.xml"):
        status, _, body = asked(server, "POST", f"/toml?model={name}", {})
        assert status == 400
        assert b"no model" in body


def test_facts_cannot_end_their_element(tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "from numba import njit\nfrom fastcart import Model\n"
        "@njit\ndef rhs(t, y, p):\n    return (-p.k * y.x,)\n"
        'm = Model("</script><b>", {"x": 1.0}, {"k": 1.0}, rhs, doc="NONCE <!-- </script>")\n'
    )
    with running(open_server(Chosen(model=f"{file}:m"))) as server:
        text = asked(server, "GET", f"/?token={server.token}")[2].decode()
    assert text.count("</script>") == 2
    assert "NONCE \\u003c!--" in text


# --- newest wins --------------------------------------------------------------------------------------------


class Slow:
    """Something whose answers take until they are let go, or stopped."""

    page = "model"

    def __init__(self):
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.stops: list[Stop] = []

    def facts(self):
        return {}

    def solve(self, given):
        self.begun.set()
        solver = fastcart.prepare("leon_triana", ["C"])
        while not self.let_go.is_set():
            solver([[1e6]])  # raises where it is stopped
        return f"answer {given['x']}"


def test_a_newer_question_of_a_page_stops_the_older():
    newest, slow, found = Newest(), Slow(), {}

    def ask(number):
        try:
            found[number] = newest.answer("p", number, lambda: slow.solve({"x": number}), slow.stops.append)
        except StoppedError:
            found[number] = "stopped"

    first = threading.Thread(target=ask, args=(1,))
    first.start()
    assert slow.begun.wait(60)
    second = threading.Thread(target=ask, args=(2,))
    second.start()
    first.join(60)
    slow.let_go.set()
    second.join(60)
    assert found == {1: "stopped", 2: "answer 2"}
    assert newest.stopped == 1


def test_an_older_question_that_comes_late_is_not_answered():
    newest, slow = Newest(), Slow()
    thread = threading.Thread(
        target=newest.answer, args=("p", 5, lambda: slow.solve({"x": 5}), slow.stops.append)
    )
    thread.start()
    assert slow.begun.wait(60)
    with pytest.raises(StoppedError):
        newest.answer("p", 4, lambda: "late", lambda stop: None)
    slow.let_go.set()
    thread.join(60)


def test_another_page_waits_and_can_give_up():
    newest, slow, stops = Newest(), Slow(), []
    thread = threading.Thread(
        target=newest.answer, args=("p", 1, lambda: slow.solve({"x": 1}), slow.stops.append)
    )
    thread.start()
    assert slow.begun.wait(60)
    found = []

    def other():
        try:
            newest.answer("q", 1, lambda: "q", stops.append)
        except StoppedError:
            found.append("stopped")

    waiting = threading.Thread(target=other)
    waiting.start()
    wait_until(lambda: stops)
    stops[0]()
    waiting.join(60)
    assert found == ["stopped"]
    assert thread.is_alive()
    slow.let_go.set()
    thread.join(60)


def test_a_page_that_leaves_leaves_no_work_behind():
    slow, before = Slow(), threading.active_count()
    with running(ExplorerServer(lambda name: slow)) as server:
        port = server.server_address[1]
        body = b'{"x": 1}'
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(
            f"POST /solve?page=p&number=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Token: {server.token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert slow.begun.wait(60)
        assert threading.active_count() == before + 2
        connection.close()
        wait_until(lambda: server.newest.stopped == 1)
        wait_until(lambda: threading.active_count() == before + 1)
    assert threading.active_count() == before


def test_the_end_of_the_server_stops_what_is_solved():
    slow, before = Slow(), threading.active_count()
    server = ExplorerServer(lambda name: slow)
    thread = threading.Thread(target=server.run)
    thread.start()

    def ask():
        with suppress(http.client.HTTPException, OSError):  # an answer that it was stopped, or none
            assert post(server, "solve", {"x": 1})[0] == 409

    asking = threading.Thread(target=ask)
    asking.start()
    assert slow.begun.wait(60)
    server.shutdown()
    thread.join(60)
    asking.join(60)
    wait_until(lambda: threading.active_count() == before)


def test_an_idle_connection_is_let_go(server):
    host = f"127.0.0.1:{server.server_address[1]}"
    connection = http.client.HTTPConnection(host, timeout=30)
    for _ in range(2):  # it serves more than one question
        connection.request("POST", "/toml", b"{}", {"X-Token": server.token})
        assert connection.getresponse().read()
    wait_until(lambda: not [t for t in threading.enumerate() if "process_request_thread" in t.name])
    connection.close()


# --- what was chosen ----------------------------------------------------------------------------------------


def test_settings_and_data_of_the_command_open_the_page(tmp_path):
    settings, data = tmp_path / "s.toml", tmp_path / "d.csv"
    explorer = ModelExplorer(fastcart.models.get("leon_triana"), "leon_triana")
    settings.write_text(explorer.toml({"patients": 77}))
    data.write_text("time,L\n1,2\n")
    server = open_server(Chosen(settings=settings, data=data))  # the model is that of the settings
    facts = server.explored(None).facts()
    server.server_close()
    assert (facts["model"], facts["start"]["patients"]) == ("leon_triana", 77)
    assert facts["measured"][0]["value"] == [2.0]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (Chosen(model="lilei"), "Did you mean 'li_lei'"),
        (Chosen(model="li_lei", options={"kill": "x"}), "killing"),
        (Chosen(model="none.xml"), "none.xml"),
        (Chosen(model="a", trial="b.toml"), "leave off"),
    ],
)
def test_a_bad_choice_gets_a_sentence(chosen, words):
    with pytest.raises(InputError, match=words):
        open_server(chosen)


def test_files_that_are_not_there_get_a_sentence(tmp_path):
    with pytest.raises(InputError, match="settings"):
        open_server(Chosen(settings=tmp_path / "none.toml"))
    with pytest.raises(InputError, match="measurements"):
        open_server(Chosen(data=tmp_path / "none.csv"))


def test_a_port_that_is_taken_gets_a_sentence(server):
    with pytest.raises(InputError, match="cannot be used"):
        open_server(Chosen(model="leon_triana"), port=server.server_address[1])
    with pytest.raises(InputError, match="65535"):
        open_server(Chosen(model="leon_triana"), port=70_000)
