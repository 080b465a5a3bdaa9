"""Which network addresses are public: the only ones that a stranger's graph may make us talk to.

Python's `is_global` alone does not tell: it accepts addresses that carry a private one inside (NAT64, 6to4,
IPv4-compatible), site-local IPv6, and addresses at which clouds serve their machines.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

_REFUSED_V4 = [
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; clouds answer in it, too
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host of a virtual machine on Azure
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_REFUSED_V6 = [
    ip_network(block)
    for block in (
        "2001::/23",  # protocol assignments, with Teredo, ORCHID and others in it
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
]


def is_public(address: str) -> bool:
    """Whether the address, written as IPv4 or IPv6, belongs to somebody on the public internet.

    Raises `ValueError` for a text that is no address.
    """
    # A zone names one of our own network cards.
    if "%" in address:
        return False
    parsed = ip_address(address)
    if isinstance(parsed, IPv4Address):
        return _is_public_v4(parsed)
    if parsed in _NAT64:
        return _is_public_v4(IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return _is_public_v6(parsed)


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in block for block in _REFUSED_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    """Whether it is global unicast; what maps or carries an IPv4 address otherwise lies outside of that."""
    return address.is_global and address in _GLOBAL_UNICAST and not any(address in block for block in _REFUSED_V6)
