"""ShadowCoerce (CVE-2022-30154): names of shares on hosts that an attacker chose."""

import uuid

from fsrvp import ZERO, Agent, Wrong

# Names, addresses, and what Windows takes for WebDAV. A control that really asks for these stays on
# this machine.
HOSTS = ("listener", "listener.example", "127.0.0.9", "::1", "[::1]", "fe80--1.ipv6-literal.net",
         "0--1.ipv6-literal.net", "listener@80", "listener@SSL@443", "127.0.0.9@80",
         "listener@80\\DavWWWRoot", "2130706441")


def ask(agent, host):
    name = f"\\\\{host}\\NETLOGON"
    copy, group = uuid.uuid4(), uuid.uuid4()
    return (agent.add(group, name)[0], agent.is_path_supported(name)[0],
            agent.is_path_shadow_copied(name)[0],
            agent.get_share_mapping(group, copy, name)[0],
            agent.delete_share_mapping(group, copy, name))


def case_hosts(lab):
    """Opnums 3, 8, 9, 10 and 11 with every host; what that does to the network is for strace."""
    with Agent(lab, level=lab.LEVEL) as agent:
        agent.settle()
        for host in HOSTS:
            if ZERO in (answers := ask(agent, host)):
                raise Wrong(f"{host}: {answers}")
