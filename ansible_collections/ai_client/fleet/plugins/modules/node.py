#!/usr/bin/python
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

"""The whole node in one call: documentation of the action plugin of the same name, which does it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node
short_description: Bring a node's AI client to its state
description:
  - User, folders, release, configuration, key, certificate authorities, units and service, in one call.
  - A change that asks for a restart is first proven beside the running service, with real requests. What fails is taken back.
  - What the node should be comes from the variables of the role P(ai_client.fleet.client#role).
author: The ai-client authors (@ai-client)
options:
  state:
    description:
      - V(present) brings the node to its state.
      - V(drift) looks only, at every file of the release too, and says what is not as it should be.
      - V(previous) goes back to the release before, with the configuration it was run with.
      - V(proven) tries each key of RV(ignore:ai_api_key_next) and RV(ignore:ai_api_keys_next) alone, beside the running service, and
        changes nothing that runs.
      - V(rotated) puts these keys in force, and changes nothing else.
      - V(asked) changes nothing and looks at nothing; it tells the release and the keys that are in use.
      - V(absent) leaves nothing.
    type: str
    choices: [present, drift, previous, proven, rotated, asked, absent]
    default: present
attributes:
  check_mode:
    description: Says what would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows what changes in files; never a secret.
    support: full
"""

EXAMPLES = r"""
- name: Bring the node to its state
  ai_client.fleet.node:
    state: present
  become: true

- name: What is not as it should be?
  ai_client.fleet.node:
    state: drift
  become: true
"""

RETURN = r"""
drift:
  description: What was not as it should be, each with RV(ignore:kind), RV(ignore:what) and RV(ignore:effect).
  returned: always
  type: list
  elements: dict
actions:
  description: What was done to the service.
  returned: changed
  type: list
  elements: str
release:
  description: The release that C(current) names afterwards, and the one before.
  returned: always
  type: dict
key_ids:
  description: By the name of its credential, the first 12 hexadecimal digits of the SHA-256 of each key that the running service was given.
  returned: always
  type: dict
old_keys:
  description: The credentials of which the running service has another key than the one that comes.
  returned: with V(proven), V(rotated) and V(asked)
  type: list
  elements: str
"""
