"""A plain dump on its way to the server: cut as psql would cut it, and every command of psql's refused."""

import io

import pytest
from odooops_agent.load_dump import Script, Unloadable, load_plain, restore_argv

HEAD = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict AbC123\n\n"
END = b"\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict AbC123\n\n"


def pieces(text, *, head=HEAD, end=END):
    """Return each statement with its data, and those that would be given to the server alone."""
    found = []
    for one in Script(io.BytesIO(head + text + end)).statements():
        data = one.data.read(1 << 30) if one.data else None
        if one.data:
            assert one.data.read(10) == b""
        if not one.left_out:
            found.append(one.text if data is None else (one.text, data))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"SET x = 0;\nSELECT 1; SELECT 2;\n", [b"SET x = 0;", b"SELECT 1;", b"SELECT 2;"]),
        (b"SELECT 'a;b''c\\';\n", [b"SELECT 'a;b''c\\';"]),
        (b"SELECT E'a\\';\\\\', ';';\n", [b"SELECT E'a\\';\\\\', ';';"]),
        (b"SELECT e'it''s\\' ;';\n", [b"SELECT e'it''s\\' ;';"]),
        (b"SELECT nose'x\\', 1;\n", [b"SELECT nose'x\\', 1;"]),
        (b'SELECT "a;""\\!";\n', [b'SELECT "a;""\\!";']),
        (b"SELECT $$a;\n\\! b'$$, $t$ $$ ; $t$;\n", [b"SELECT $$a;\n\\! b'$$, $t$ $$ ; $t$;"]),
        (b"SELECT a$b$c; SELECT 1;\n", [b"SELECT a$b$c;", b"SELECT 1;"]),
        (b"SELECT 1 -- ; \\! id\n, 2;\n", [b"SELECT 1 \n, 2;"]),
        (b"/* ; \\! /* ' */ ; */ SELECT/*;*/1;\n", [b"SELECT 1;"]),
        (b"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM u; SELECT 1);\n",
         [b"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM u; SELECT 1);"]),
        (b";;\n", []),
        (b"COPY public.t (a, b) FROM stdin;\n1\tx\\\\y\n\\\\.\n;\\! id\n\\.\nSELECT 1;\n",
         [(b"COPY public.t (a, b) FROM stdin;", b"1\tx\\\\y\n\\\\.\n;\\! id\n"), b"SELECT 1;"]),
        (b"COPY t FROM stdin;\r\n1\r\n\\.\r\n", [(b"COPY t FROM stdin;", b"1\r\n")]),
        (b"COPY t FROM stdin;\n\\.\n", [(b"COPY t FROM stdin;", b"")]),
    ],
)  # fmt: skip
def test_a_dump_is_cut_as_psql_cuts_it(text, expected):
    assert pieces(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"\\! id\n",
        b"SELECT 1 \\g | sh\n",
        b"SELECT 1 \\gexec\n",
        b"SELECT 1; \\o |sh\n",
        b"\\copy t from program 'id'\n",
        b"\\i /etc/passwd\n",
        b"\\connect other\n",
        b"\\restrict a | sh\n",
        b"SELECT 1 \\restrict abc\n;",
        b"\\.\n",
        b"COPY t FROM PROGRAM 'id';\n",
        b"copy t from '/etc/passwd';\n",
        b"COPY t TO PROGRAM 'sh';\n",
        b"COPY (SELECT 1) TO '/tmp/x';\n",
        b"COPY t FROM stdin; \\! id\n\\.\n",
        b"SET standard_conforming_strings = off;\n",
        b"SELECT E'\\'' \\! id\n;",
        b"SELECT 'x\\' \\! id\n;",
    ],
)
def test_what_only_psql_or_the_server_s_own_disk_would_know_is_refused(text):
    with pytest.raises(Unloadable) as told:
        pieces(text)
    assert str(told.value).endswith((".", "refused."))


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (b"COPY t FROM stdin;\n1\n", END),
        (b"COPY t FROM stdin;\n1\n", b""),
        (b"SELECT 'a", b""),
        (b"SELECT $$a", END),
        (b"SELECT 1", b""),
        (b"/* a", END),
        (b"SELECT 1;\n", b""),
        (b"", b""),
    ],
)
def test_a_dump_that_is_cut_short_is_told(text, end):
    with pytest.raises(Unloadable, match="bring all of it"):
        pieces(text, end=end)


def test_owners_rights_and_what_is_the_cluster_s_stay_behind():
    text = b"""
        ALTER TABLE public.res_partner OWNER TO odoo_sh;
        ALTER FUNCTION public.f(a text) OWNER TO "p; \\\\x";
        GRANT ALL ON SCHEMA public TO PUBLIC;
        REVOKE ALL ON TABLE t FROM PUBLIC;
        ALTER DEFAULT PRIVILEGES FOR ROLE x GRANT SELECT ON TABLES TO y;
        COMMENT ON EXTENSION pg_trgm IS 'a; b';
        CREATE SCHEMA public;
        SET SESSION AUTHORIZATION 'root';
        CREATE PUBLICATION p FOR ALL TABLES;
        ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('s');
    """
    assert pieces(text) == [b"ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('s');"]


def test_long_lines_of_data_are_not_cut(monkeypatch):
    monkeypatch.setattr("odooops_agent.load_dump.LINE_BYTES", 4)
    data = b"12345678\\.\n12\\.\n\\.x\n1234\n"
    assert pieces(b"COPY t FROM stdin;\n" + data + b"\\.\n") == [(b"COPY t FROM stdin;", data)]


class Unknown(Exception):
    """A setting that the server does not know."""


class Server:
    """What is given to it, in order; it is older than the dump's pg_dump."""

    def __init__(self):
        self.given = []

    def cursor(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def execute(self, text):
        if b"nowhere" in text or b"transaction_timeout" in text:
            raise Unknown
        self.given.append(text)

    def copy_expert(self, text, data):
        self.given.append((text, data.read(100)))


def test_a_setting_that_an_older_server_does_not_know_is_passed_over_and_nothing_else():
    server, dump = Server(), HEAD + b"SET transaction_timeout = 0;\nCOPY t FROM stdin;\n1\n\\.\n" + END
    assert load_plain(server, io.BytesIO(dump), Unknown) == 2
    assert server.given == [(b"COPY t FROM stdin;", b"1\n")]
    with pytest.raises(Unknown):
        load_plain(server, io.BytesIO(HEAD + b"SELECT * FROM nowhere;" + END), Unknown)


def test_pg_restore_takes_no_owner_and_no_right():
    argv = restore_argv({"username": "u", "dbname": "d"}, "/odooops/database.dump")
    assert {"--no-owner", "--no-acl", "--exit-on-error", "--username=u", "--dbname=d"} <= set(argv)
    assert argv[-1] == "/odooops/database.dump"
