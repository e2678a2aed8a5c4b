"""What redis-py does with TLS and a user: argument 1 is the port, 2 the authority, 3 the file with the password of alice."""
import sys
import redis

port, authority, password = int(sys.argv[1]), sys.argv[2], open(sys.argv[3]).read().strip()


def connect(**how):
    settings = dict(host="localhost", port=port, ssl=True, ssl_ca_certs=authority, decode_responses=True, socket_timeout=60)
    return redis.Redis(**{**settings, **how})


def fails(with_what, call, *words):
    try:
        call()
    except with_what as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError(with_what)


for protocol in (2, 3):
    r = connect(protocol=protocol, username="alice", password=password)
    assert r.ping() is True
    assert r.acl_whoami() == "alice"
    assert r.set("k", "v") is True
    assert r.get("k") == "v"
    assert r.client_info()["user"] == "alice"
    with r.pipeline(transaction=False) as pipe:
        for number in range(100):
            pipe.set(f"p{number}", number)
        pipe.mget(*(f"p{number}" for number in range(100)))
        assert pipe.execute()[-1] == [str(number) for number in range(100)]
    fails(redis.exceptions.NoPermissionError, r.flushall, "flushall")
    r.close()
    r = connect(protocol=protocol, username="alice", password="wrong")
    fails(redis.exceptions.AuthenticationError, r.ping)
    r.close()
    r = connect(protocol=protocol)
    fails(redis.exceptions.AuthenticationError, r.ping)
    r.close()
# Who is not signed by a known authority is not trusted.
fails(redis.exceptions.ConnectionError, connect(ssl_ca_certs=None, username="alice", password=password).ping, "CERTIFICATE")
# Without TLS there is an error in words.
fails(redis.exceptions.RedisError, connect(ssl=False).ping, "TLS")
print("redis-py", redis.__version__)
