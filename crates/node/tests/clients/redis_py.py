"""What redis-py does by default, and in either version of the protocol, against a replica: argument 1 is its port."""
import sys
import redis

port = int(sys.argv[1])


def check(r, three):
    """One client's calls, and what they must return."""
    assert r.flushall() is True
    assert r.ping() is True
    assert r.echo("word") == "word"
    assert r.get("k") is None
    assert r.set("k", "v") is True
    assert r.get("k") == "v"
    assert r.set("k", "w", nx=True) is None
    assert r.set("k", "w", xx=True) is True
    assert r.set("k", "x", get=True) == "w"
    assert r.set("absent", "x", xx=True) is None
    assert r.setnx("k", "y") is False
    assert r.getset("k", "y") == "x"
    assert r.getdel("k") == "y"
    assert r.getdel("k") is None
    assert r.incr("n") == 1
    assert r.incrby("n", 41) == 42
    assert r.decr("n", 2) == 40
    assert r.append("n", "0") == 3
    assert r.strlen("n") == 3
    assert r.mset({"a": "1", "b": "2"}) is True
    assert r.msetnx({"b": "3", "c": "3"}) is False
    assert r.mget("a", "b", "c") == ["1", "2", None]
    assert r.exists("a", "b", "c") == 2
    assert r.delete("a", "b", "c") == 2
    assert r.dbsize() == 1
    assert r.config_get("save") == {"save": ""}
    assert r.client_id() > 0
    assert r.client_getname() == "suite"
    assert r.client_info()["resp"] == ("3" if three else "2"), r.client_info()
    assert r.client_info()["lib-name"].startswith("redis-py")
    assert [c["name"] for c in r.client_list()].count("suite") == 1
    assert r.command_count() == len(r.command()) > 0
    assert r.info()["keys"] == 1
    for value in ("007", "+5", "-0"):
        r.set("n", value)
        try:
            r.incr("n")
        except redis.ResponseError as error:
            assert "not an integer" in str(error)
        else:
            raise AssertionError(value)
    with r.pipeline(transaction=False) as pipe:
        for number in range(100):
            pipe.set(f"p{number}", number)
        pipe.mget(*(f"p{number}" for number in range(100)))
        assert pipe.execute()[-1] == [str(number) for number in range(100)]
    for refused in (["x"] * 65_537, ["SET", "k", "x" * (9 * 1024 * 1024)]):
        try:
            r.execute_command(*refused)
        except redis.RedisError as error:
            assert "Protocol error: invalid" in str(error), error
        else:
            raise AssertionError("not refused")
    assert r.get("p7") == "7"


def connect(**how):
    return redis.Redis(port=port, client_name="suite", decode_responses=True, socket_timeout=60, **how)


default = connect()
check(default, default.execute_command("HELLO") and default.client_info()["resp"] == "3")
default.close()
for protocol in (2, 3):
    r = connect(protocol=protocol)
    check(r, protocol == 3)
    r.close()
    r = connect(protocol=protocol, username="default", password="any")
    assert r.ping() is True
    r.close()
print("redis-py", redis.__version__)
