"""The two units and the program's wrapper, as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SERVICE = "ai-client.service"
SOCKET = "ai-client.socket"

_SERVICE = """\
# Written by the collection ai_client.fleet; what is changed here is changed back.

[Unit]
Description=ai-client, the OpenAI-compatible endpoint of this node
Requires=ai-client.socket
After=ai-client.socket network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={root}/current/bin/ai-client serve --config {config}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1s
RestartPreventExitStatus=2
WatchdogSec=30s
TimeoutStartSec=30s
TimeoutStopSec=45s
User={user}
Group={group}
UMask=0027
{secrets}StateDirectory=ai-client
StateDirectoryMode=0750
CacheDirectory=ai-client
CacheDirectoryMode=0750
LogsDirectory=ai-client
LogsDirectoryMode=0750
{writable}LimitNOFILE=65536
NoNewPrivileges=true
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
PrivateDevices=true
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible
RemoveIPC=true
LockPersonality=true
MemoryDenyWriteExecute=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
Also=ai-client.socket
"""

_SOCKET = """\
# Written by the collection ai_client.fleet; what is changed here is changed back.

[Unit]
Description=Sockets of ai-client, the OpenAI-compatible endpoint of this node

[Socket]
{streams}SocketUser={user}
SocketGroup={group}
SocketMode=0660
DirectoryMode=0755
Backlog=4096
NoDelay=true

[Install]
WantedBy=sockets.target
"""

_WRAPPER = """\
#!/bin/sh
# Written by the collection ai_client.fleet. Whoever may read the service's credentials (root) asks as the service does.
credentials=/run/credentials/ai-client.service
if [ -z "${{CREDENTIALS_DIRECTORY-}}" ] && [ -r "$credentials" ]; then
    CREDENTIALS_DIRECTORY=$credentials
    export CREDENTIALS_DIRECTORY
fi
exec {root}/current/bin/ai-client "$@"
"""


@dataclass(frozen=True)
class Place:
    """Where things stand on a node, and whose they are. `writable` are folders beyond systemd's own three."""

    root: str
    config: str
    user: str
    group: str
    credentials: Mapping[str, str]
    environment: str
    writable: tuple[str, ...]


def service_unit(place: Place) -> str:
    """The service."""
    lines = [f"LoadCredential={name}:{path}\n" for name, path in place.credentials.items()]
    lines += [f"EnvironmentFile={place.environment}\n"] if place.environment else []
    return _SERVICE.format(
        root=place.root,
        config=place.config,
        user=place.user,
        group=place.group,
        secrets="".join(lines),
        writable="".join(f"ReadWritePaths={path}\n" for path in place.writable),
    )


def socket_unit(user: str, group: str, listen: list[str]) -> str:
    """The sockets, held by systemd while the service comes and goes."""
    streams = "".join(f"ListenStream={address.removeprefix('unix:')}\n" for address in listen)
    return _SOCKET.format(streams=streams, user=user, group=group)


def wrapper(root: str) -> str:
    """`/usr/local/bin/ai-client`."""
    return _WRAPPER.format(root=root)
