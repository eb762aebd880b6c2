"""What an application is told of its connection and its client's certificate."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from greenhorn.tls.credentials import Credentials
from greenhorn.tls.options import Pair
from greenhorn.tls.variables import connection_variables, distinguished_name
from unit.tls.making import DAY, NOW, SERVER, Made, authority, make, options
from unit.tls.talking import Talk, client_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
ISSUER = authority("Zürich & sons")


class Gate:
    """A server that asks clients for a certificate of `ISSUER`."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self._folder = folder
        (folder / "ca.pem").write_bytes(ISSUER.pem)
        self._credentials = Credentials(options(pair, ca_certs=str(folder / "ca.pem"), cert_reqs=ssl.CERT_OPTIONAL))

    def talk(self, made: Made | None, version: ssl.TLSVersion | None = None, before: Talk | None = None) -> Talk:
        """Speak with a client that shows this certificate, and goes on with its session of `before`."""
        if before is not None:
            return Talk(self._credentials, before.client.context, session=before.client.session)
        shows = made.write(self._folder, "client") if made else None
        return Talk(self._credentials, client_context(shows=shows, newest=version))

    def variables(self, made: Made | None) -> dict[str, Any]:
        """What an application is told of such a client."""
        return connection_variables(self.talk(made).server)


@pytest.fixture
def gate(pair: Pair, tmp_path: Path) -> Gate:
    return Gate(pair, tmp_path)


# The connection.


@pytest.mark.parametrize("version", VERSIONS)
def test_version_cipher_and_name_are_told_as_the_client_sees_them(credentials: Credentials, version: ssl.TLSVersion):
    talk = Talk(credentials, client_context(newest=version))
    cipher = talk.client.cipher()
    assert cipher is not None
    assert connection_variables(talk.server) == {
        "wsgi.url_scheme": "https",
        "HTTPS": "on",
        "SSL_PROTOCOL": talk.client.version(),
        "SSL_CIPHER": cipher[0],
        "SSL_CIPHER_USEKEYSIZE": str(cipher[2]),
        "SSL_SESSION_RESUMED": "Initial",
        "SSL_TLS_SNI": SERVER,
        "SSL_CLIENT_VERIFY": "NONE",
    }


def test_without_a_name_there_is_none(credentials: Credentials):
    assert "SSL_TLS_SNI" not in connection_variables(Talk(credentials, name=None).server)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_that_is_resumed_tells_the_same_client(gate: Gate, version: ssl.TLSVersion):
    first = gate.talk(make(common_name="zq member", issuer=ISSUER), version)
    again = gate.talk(None, before=first)
    told = [connection_variables(talk.server) for talk in (first, again)]
    assert [variables.pop("SSL_SESSION_RESUMED") for variables in told] == ["Initial", "Resumed"]
    assert told[0] == told[1]
    assert told[1]["SSL_CLIENT_S_DN"] == "CN=zq member"


# The client.


def test_a_client_without_a_certificate_is_told_as_one(gate: Gate):
    variables = gate.variables(None)
    assert variables["SSL_CLIENT_VERIFY"] == "NONE"
    assert [name for name in variables if name.startswith("SSL_CLIENT")] == ["SSL_CLIENT_VERIFY"]


def test_a_client_with_a_certificate_is_told_in_all_its_parts(gate: Gate):
    made = make("member.example", common_name="zq member", issuer=ISSUER, begins=NOW - DAY, ends=NOW + DAY)
    variables = gate.variables(made)
    assert variables["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert variables["SSL_CLIENT_S_DN"] == "CN=zq member"
    assert variables["SSL_CLIENT_S_DN_CN"] == "zq member"
    assert native_back(variables["SSL_CLIENT_I_DN"]) == "CN=Zürich & sons"
    assert native_back(variables["SSL_CLIENT_I_DN_CN"]) == "Zürich & sons"
    assert int(variables["SSL_CLIENT_SERIAL"], 16) == made.certificate.serial_number
    assert variables["SSL_CLIENT_M_SERIAL"] == variables["SSL_CLIENT_SERIAL"]
    for name, moment in (("START", NOW - DAY), ("END", NOW + DAY)):
        assert dt.datetime.fromisoformat(variables[f"SSL_CLIENT_V_{name}"]) == moment
    assert variables["SSL_CLIENT_CERT"].encode() == made.pem
    assert variables["SSL_CLIENT_SAN_DNS_0"] == "member.example"


def native_back(value: str) -> str:
    """The text that a native string of WSGI stands for (PEP 3333)."""
    return value.encode("latin-1").decode()


def test_all_values_are_native_strings(gate: Gate):
    attribute = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "雪国 и др.")
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("https://zq.example/")])
    variables = gate.variables(make(subject=x509.Name([attribute]), issuer=ISSUER, extensions=[names]))
    for value in variables.values():
        assert isinstance(value, str)
        value.encode("latin-1")
    assert native_back(variables["SSL_CLIENT_S_DN_O"]) == "雪国 и др."


def test_other_names_are_told_by_kind_in_their_order(gate: Gate):
    addresses = ["192.0.2.7", "2001:db8::1"]
    names = [
        x509.DNSName("a.example"),
        x509.RFC822Name("zq@mail.example"),
        x509.DNSName("*.b.example"),
        x509.UniformResourceIdentifier("spiffe://zq.example/web"),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
        x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere")])),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.5"), b"\x0c\x02zq"),
        x509.RFC822Name("other@mail.example"),
    ]
    variables = gate.variables(make(issuer=ISSUER, extensions=[x509.SubjectAlternativeName(names)]))
    told = {name: value for name, value in variables.items() if name.startswith("SSL_CLIENT_SAN_")}
    for number, address in enumerate(addresses):
        assert ipaddress.ip_address(told.pop(f"SSL_CLIENT_SAN_IP_{number}")) == ipaddress.ip_address(address)
    assert told == {
        "SSL_CLIENT_SAN_DNS_0": "a.example",
        "SSL_CLIENT_SAN_DNS_1": "*.b.example",
        "SSL_CLIENT_SAN_Email_0": "zq@mail.example",
        "SSL_CLIENT_SAN_Email_1": "other@mail.example",
        "SSL_CLIENT_SAN_URI_0": "spiffe://zq.example/web",
    }


def test_of_several_parts_of_a_kind_the_first_is_told_by_itself(gate: Gate):
    units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, name) for name in ("outer", "inner")]
    email = x509.NameAttribute(NameOID.EMAIL_ADDRESS, "zq@mail.example")
    variables = gate.variables(make(subject=x509.Name([*units, email]), issuer=ISSUER))
    assert variables["SSL_CLIENT_S_DN"] == "emailAddress=zq@mail.example,OU=inner,OU=outer"
    assert variables["SSL_CLIENT_S_DN_OU"] == "outer"
    assert variables["SSL_CLIENT_S_DN_Email"] == "zq@mail.example"


# Distinguished names (RFC 4514).

KNOWN = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.STREET_ADDRESS: "STREET",
    NameOID.USER_ID: "UID",
}
OTHERS = {NameOID.SURNAME: "surname", NameOID.TITLE: "title", NameOID.GIVEN_NAME: "givenName"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
AWKWARD = st.text('"+,;<>\\# =é\0\n\x7f', min_size=1, max_size=8)
ATTRIBUTES = st.builds(x509.NameAttribute, st.sampled_from([*KNOWN, *OTHERS]), TEXT | AWKWARD)
NAMES = st.lists(
    st.lists(ATTRIBUTES, min_size=1, max_size=3, unique_by=lambda attribute: attribute.oid).map(
        x509.RelativeDistinguishedName
    ),
    min_size=1,
    max_size=4,
).map(x509.Name)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES)
@example(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, " ")]))
@example(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "  ")]))
@example(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "# ")]))
@example(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "zq,O=admin")]))
@example(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "zq\r\nSet: 1")]))
def test_a_name_is_written_as_the_standard_says(gate: Gate, subject: x509.Name):
    written = native_back(gate.variables(make(subject=subject, issuer=ISSUER))["SSL_CLIENT_S_DN"])
    assert not any(ord(char) < 32 or ord(char) == 127 for char in written)
    read = x509.Name.from_rfc4514_string(written, {name: oid for oid, name in (KNOWN | OTHERS).items()})
    assert values(read) == values(subject)
    plain = all(char.isprintable() for attribute in subject for char in str(attribute.value))
    if plain and all(len(part) == 1 for part in subject.rdns):  # the parts of one have an order of their own in DER
        assert written == subject.rfc4514_string(KNOWN | OTHERS)


def values(name: x509.Name) -> list[set[tuple[str, str]]]:
    return [{(attribute.oid.dotted_string, str(attribute.value)) for attribute in part} for part in name.rdns]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), ""),
        (((("commonName", "zq"),),), "CN=zq"),
        (((("countryName", "CH"),), (("commonName", "zq"),)), "CN=zq,C=CH"),
        (((("commonName", "zq"), ("userId", "7")),), "CN=zq+UID=7"),
        (((("domainComponent", "example"),), (("domainComponent", "zq"),)), "DC=zq,DC=example"),
        (((("1.2.3.4", "zq"),),), "1.2.3.4=zq"),
    ],
)
def test_the_most_special_part_of_a_name_stands_first(names: Any, told: str):
    assert distinguished_name(names) == told


def test_nobody_can_forge_another_name_with_the_text_of_a_part(gate: Gate):
    forged = make(subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "zq,O=Admins+OU=x\\")]), issuer=ISSUER)
    assert gate.variables(forged)["SSL_CLIENT_S_DN"] == r"CN=zq\,O=Admins\+OU=x\\"


def test_what_the_client_shows_counts_only_where_somebody_looked_at_it(credentials: Credentials, tmp_path: Path):
    shows = make(common_name="nobody").write(tmp_path, "client")
    variables = connection_variables(Talk(credentials, client_context(shows=shows)).server)
    assert variables["SSL_CLIENT_VERIFY"] == "NONE"
    assert "SSL_CLIENT_S_DN" not in variables
