#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of mail_discover; the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_discover
short_description: Draft a campus's inventory from its DNS
version_added: 0.1.0
author: mailgate contributors (@mailgate)
description:
  - Reads zones, by transfer (AXFR, with TSIG if wanted) or from their files, and drafts the inventory that
    M(campus.mailgate.mail_plan) reads; C(campus.yml), and one file a faculty in C(faculties/).
  - Each name with MX records, wildcards too, becomes a mail domain. Its home server is the exchange of the lowest
    preference that is not one of O(gateways), at the address that the zones give for it.
  - A server belongs to the faculty named by the label just below O(domain) in its own name; where its name has none, to
    the one that all of its domains are in.
  - Nothing is guessed. What the zones do not settle becomes a value beginning with V(TODO), which
    M(campus.mailgate.mail_plan) refuses. This is so for exchanges of equal preference, names of gateways only, a server
    that is an alias, is outside of O(networks), or has no or several addresses, a server of no certain faculty, and a
    delegated zone that was not read.
  - Border routers, hubs, permits and a domain's second server are not in DNS, or not certain there, and are left to
    fill in.
  - The files are written all or none. A file that exists with another content is left alone unless O(overwrite) is
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
    description: The campus's domain. Faculties are the labels just below it.
    type: str
    required: true
  name:
    description: The campus's name for print-outs. The default is O(domain).
    type: str
  servers:
    description: The primary DNS servers and their zones, as the inventory shall name them.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The server's full host name.
        type: str
        required: true
      zones:
        description: The zones that it is the primary server of. Reverse zones are not needed.
        type: list
        elements: str
        required: true
      address:
        description: The address to transfer from. Not needed when O(servers[].files) has all zones.
        type: str
      port:
        description: The TCP port to transfer from.
        type: int
        default: 53
      key:
        description: The TSIG key that the server allows transfers for.
        type: dict
        suboptions:
          name:
            description: The key's name on the server.
            type: str
            required: true
          algorithm:
            description: Its algorithm.
            type: str
            choices: [hmac-sha256, hmac-sha512, hmac-sha384, hmac-sha224, hmac-sha1, hmac-md5]
            default: hmac-sha256
          secret:
            description: Its secret in base64; best from a vault.
            type: str
            required: true
      key_file:
        description: File with the key, in the syntax of C(named.conf), as C(tsig-keygen) writes it.
        type: path
      files:
        description:
          - For zones that are not to be transferred, the path of each one's file on the controller.
          - Files named by C($INCLUDE) are looked for beside it.
        type: dict
        default: {}
      named_conf:
        description: The server's main configuration file, if it is not C(/etc/bind/named.conf).
        type: str
        default: ""
  gateways:
    description:
      - The gateways' full host names, in the order in which senders shall try them. They need not exist yet.
      - An exchange that is listed here is never a domain's home. An empty list says that there are none so far.
      - Their preferences are those of the MX records that name them; without such, 0, 10 and so on.
    type: list
    elements: str
    required: true
  networks:
    description: The campus's networks in CIDR form. A server outside of them is marked.
    type: list
    elements: str
    default: []
  faculties:
    description:
      - The group for a domain and all servers below it, as V(eng.univ.example) to V(engineering). The longest domain
        wins.
      - Others get a group of the name of the label below O(domain).
    type: dict
    default: {}
  directory:
    description: The inventory's directory to write. It is made if it does not exist.
    type: path
    required: true
  overwrite:
    description: Replace files that exist with another content.
    type: bool
    default: false
  timeout:
    description: Seconds that the transfer of one zone may take.
    type: float
    default: 30
  show:
    description: Print RV(text) on the screen.
    type: bool
    default: false
notes:
  - A host that takes mail by its address alone, without MX records, is not seen. Add such host names to the
    C(mailgate_domains) of their servers by hand.
  - Where a server answers inside and outside differently (views), ask from inside.
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
  description: The draft's files.
  type: list
  elements: str
  returned: success
  sample: [/home/admin/inventories/campus/campus.yml, /home/admin/inventories/campus/faculties/engineering.yml]
questions:
  description: What the admin must settle, each marked V(TODO) in the file of its group, as group, host and question.
  type: list
  elements: str
  returned: success
  sample:
    - "science: TODO.bio.sci.univ.example: bio.sci.univ.example: which server is its home? Of equal preference 10 are
      a.sci.univ.example, b.sci.univ.example"
remarks:
  description: What the draft leaves out, as a domain's further MX records.
  type: list
  elements: str
  returned: success
  sample: ["eng.univ.example has further MX, which the draft leaves out: 20 mail.sci.univ.example"]
text:
  description: The numbers of zones, domains and servers, and what is left to do.
  type: str
  returned: success
  sample: "2 zones read: 168 mail domains on 142 servers in 18 faculties."
"""
