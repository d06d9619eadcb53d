#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of mail_discover; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_discover
short_description: Draft the inventory of a campus from its DNS
version_added: 0.1.0
author: mailgate contributors (@mailgate)
description:
  - Reads zones, by transfer (AXFR, optionally with TSIG) or from their files, and drafts the inventory that
    M(campus.mailgate.mail_plan) reads; C(campus.yml), and one file per faculty in C(faculties/).
  - Each name with MX records, including wildcards, is a mail domain. Its final server is the exchange of the lowest
    preference that is not one of O(gateways), at the address that the zones have for it.
  - A server belongs to the faculty named by the label just below O(domain) in its own name; without such a label, to
    the one that all of its domains are in.
  - A value that the zones do not determine begins with V(TODO), which M(campus.mailgate.mail_plan) refuses. These are
    exchanges of equal preference, domains whose MX records name gateways only, a server that is an alias, is outside of
    O(networks), or has no or several addresses, a server of unknown faculty, and a delegated zone that was not read.
  - Border routers, hubs, permits and backup servers cannot be determined from DNS, and must be added.
  - Either all files are written or none. A file that exists with other content is not replaced unless O(overwrite) is
    set.
  - Runs on the controller, which needs dnspython.
extends_documentation_fragment:
  - campus.mailgate.attributes
  - campus.mailgate.attributes.controller
attributes:
  check_mode:
    details: The zones are read in check mode too.
options:
  domain:
    description: The domain of the campus. Faculties are the labels just below it.
    type: str
    required: true
  name:
    description: The name of the campus for reports. The default is O(domain).
    type: str
  servers:
    description: The primary DNS servers and their zones, by their names for the inventory.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The full host name of the server.
        type: str
        required: true
      zones:
        description: The zones of which it is the primary server. Reverse zones are not needed.
        type: list
        elements: str
        required: true
      address:
        description: The address to transfer from. Not needed if O(servers[].files) has all zones.
        type: str
      port:
        description: The TCP port to transfer from.
        type: int
        default: 53
      key:
        description: The TSIG key for which the server allows transfers.
        type: dict
        suboptions:
          name:
            description: The name of the key on the server.
            type: str
            required: true
          algorithm:
            description: The algorithm of the key.
            type: str
            choices: [hmac-sha256, hmac-sha512, hmac-sha384, hmac-sha224, hmac-sha1, hmac-md5]
            default: hmac-sha256
          secret:
            description: The secret of the key in base64, preferably from a vault.
            type: str
            required: true
      key_file:
        description: File with the key, in the syntax of C(named.conf), as C(tsig-keygen) writes it.
        type: path
      files:
        description:
          - For zones that are not to be transferred, the path of the zone file on the controller.
          - C($INCLUDE) is relative to the directory of the zone file.
        type: dict
        default: {}
      named_conf:
        description: The main configuration file of the server, if it is not C(/etc/bind/named.conf).
        type: str
        default: ""
  gateways:
    description:
      - The full host names of the gateways, in the order in which senders are to try them. They need not exist yet.
      - An exchange in this list is never a final server. An empty list means that there are no gateways yet.
      - Their preferences are those of the MX records that name them; without such records, 0, 10 and so on.
    type: list
    elements: str
    required: true
  networks:
    description: The networks of the campus in CIDR form. A server outside of them is marked.
    type: list
    elements: str
    default: []
  faculties:
    description:
      - The group for a domain and all servers below it, for example V(engineering) for V(eng.univ.example). The longest
        matching domain is used.
      - Other servers get a group named after the label below O(domain).
    type: dict
    default: {}
  directory:
    description: The directory of the inventory. It is created if it does not exist.
    type: path
    required: true
  overwrite:
    description: Replace files that exist with other content.
    type: bool
    default: false
  timeout:
    description: Timeout of the transfer of one zone, in seconds.
    type: float
    default: 30
  show:
    description: Display RV(text).
    type: bool
    default: false
notes:
  - A host that receives mail by its address record alone, without MX records, is not found. Add such host names to the
    C(mailgate_domains) of their servers manually.
  - If a server has internal and external views, transfer the zones from the internal network.
seealso:
  - module: campus.mailgate.mail_plan
"""

EXAMPLES = r"""
- name: Draft the inventory from the name servers, with one key
  campus.mailgate.mail_discover:
    domain: univ.example
    name: Example University
    networks: [198.18.0.0/16, "2001:db8:18::/48"]
    gateways: [gw1.univ.example, gw2.univ.example]
    faculties:
      eng.univ.example: engineering
    servers:
      - host: ns1.univ.example
        address: 198.18.0.53
        key_file: ~/campus.key
        zones: [univ.example, eng.univ.example]
    directory: inventories/campus

- name: The same from copies of the zone files
  campus.mailgate.mail_discover:
    domain: univ.example
    gateways: []
    servers:
      - host: ns1.univ.example
        zones: [univ.example]
        files:
          univ.example: zones/univ.example.zone
    directory: inventories/campus
"""

RETURN = r"""
files:
  description: The files of the draft.
  type: list
  elements: str
  returned: success
  sample: [/home/admin/inventories/campus/campus.yml, /home/admin/inventories/campus/faculties/engineering.yml]
questions:
  description: Open questions, each marked V(TODO) in the file of its group, as group, host and question.
  type: list
  elements: str
  returned: success
  sample:
    - "science: TODO.bio.sci.univ.example: bio.sci.univ.example: which is its final server? Of equal preference 10 are
      a.sci.univ.example, b.sci.univ.example"
remarks:
  description: What the draft omits, for example further MX records of a domain.
  type: list
  elements: str
  returned: success
  sample: ["eng.univ.example has further MX records, omitted here: 20 mail.sci.univ.example"]
text:
  description: The numbers of zones, domains and servers, and the open questions.
  type: str
  returned: success
  sample: "2 zones read: 168 mail domains on 142 servers in 18 faculties."
"""
