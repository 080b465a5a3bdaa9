"""Where a request comes from."""

from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

NOWHERE = "unknown"


def address_of(request: HttpRequest) -> str:
    """The network that counts as one client: an IPv4 address, the first 64 bits of an IPv6 address, or `unknown`.

    Behind `PROXIES` proxies it is what the outermost of them wrote into X-Forwarded-For. Whatever stands before that
    the client has written itself, and without proxies all of the header: it is not looked at.
    """
    address = str(request.META.get("REMOTE_ADDR") or "")
    if settings.PROXIES:
        passed = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
        # Fewer entries than proxies: the request did not come through all of them.
        if len(passed) >= settings.PROXIES:
            address = passed[-settings.PROXIES]
    return _network(address)


def _network(text: str) -> str:
    try:
        address = ip_address(_without_port(text))
    except ValueError:
        return NOWHERE
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        # Whoever has one IPv6 address has the 2⁶⁴ beside it.
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def _without_port(text: str) -> str:
    """Some proxies write the port, too: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
