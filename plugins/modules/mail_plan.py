#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of mail_plan; the work is done by the action plugin of the same name, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_plan
short_description: Compute and prove a campus's mail plan from its inventory
version_added: 0.1.0
author: mailgate contributors (@mailgate)
description:
  - Reads the C(mailgate_*) variables and C(ansible_host) of every host of the inventory, whatever C(--limit) says, and
    returns the tables that the roles of this collection apply.
  - The plan is proved before it is returned. Every domain is walked, host by host through the tables, for senders that
    follow the MX, connect straight to an inner server, try to relay, or sit inside; with all hosts up, with each
    gateway, each hub and each server that has a backup down, and with the border without its rule. O(proof_file) takes
    all of it.
  - The three MX methods are compared on this campus, RV(methods).
  - Fails with a numbered list of all problems of the inventory, each with host, variable, file and how to mend it. A
    plan that would lose a domain's mail or send it in a loop is refused too.
  - A C(mailgate_*) variable that mailgate does not know is refused, with the nearest known name. Names beginning with
    C(mailgate_plan), C(mailgate_verify) and so on, after a playbook, are left to the playbooks.
  - Runs on the controller alone and opens no connection. Use it with C(run_once).
extends_documentation_fragment:
  - campus.mailgate.attributes
  - campus.mailgate.attributes.controller
attributes:
  diff_mode:
    support: none
options:
  proof_file:
    description:
      - A file on the controller for the whole proof, a JSON object whose C(cases) has every domain in every scenario
        for every kind of sender, with C(verdict) and C(path), hop by hop, one case a line. A case of C(inside) is the
        worst of all starting hosts; its C(starts) counts them by verdict.
      - It is replaced only if it would change, and not in check mode.
    type: path
  show:
    description: Print the plan on the screen.
    type: bool
    default: false
  today:
    description:
      - The day, as C(2027-03-31), at which permits must not have expired. The default is the controller's date.
    type: str
notes:
  - A server is a host with C(mailgate_domains), or one that C(mailgate_hub) names. Its address is C(mailgate_address),
    by default C(ansible_host). Its faculty is C(mailgate_faculty), by default its innermost group.
  - A server takes the mail of its C(mailgate_backup_domains) while their home does not answer, and delivers it itself.
    C(mailgate_keep_mx), V(true) or a list of domains, and C(keep_mx), a list of zones, in C(mailgate_dns) leave MX
    lines as they are.
  - Time and memory grow with the number of domains, but RV(sendmail) has a line for every pair of server and domain.
  - Domains are compared in lower case and as A-labels. C(*.suffix) stands for all names below the suffix; an exact
    domain goes before it, and a longer suffix before a shorter one. A claim within another faculty's C(*.suffix) is a
    warning.
seealso:
  - module: ansible.builtin.add_host
    description: Groups the hosts by RV(hosts), so that plays can name them.
"""

EXAMPLES = r"""
- name: Compute the plan from the inventory
  campus.mailgate.mail_plan:
  run_once: true
  register: mailgate_plan

- name: Show it as well
  campus.mailgate.mail_plan:
    show: true
  run_once: true

- name: Keep the whole proof as well
  campus.mailgate.mail_plan:
    proof_file: proof.json
  run_once: true

- name: Use a table of it
  ansible.builtin.debug:
    msg: "{{ mailgate_plan.sendmail['mech.eng.univ.example'].static }}"
  run_once: true
"""

RETURN = r"""
campus:
  description: What holds for the whole campus.
  returned: success
  type: dict
  contains:
    name:
      description: The name for print-outs.
      type: str
    networks:
      description: The campus's networks, IPv4 and IPv6, as CIDR.
      type: list
      elements: str
    method:
      description:
        - How MX lines are made. V(gateway) puts the gateways before each domain's own servers, V(fallback) behind them;
          V(split) leaves the own servers inside and shows the gateways alone outside.
      type: str
    delivery:
      description: V(direct), or V(tiered) through the faculties' hubs.
      type: str
    language:
      description: V(en) or V(ja).
      type: str
  sample: {name: Example University, networks: [198.18.0.0/16], method: gateway, delivery: direct, language: en}
hosts:
  description:
    - Every host of the inventory by name, with C(kinds) (V(gateways), V(borders), V(dns), V(servers); empty for
      others), C(address), C(address6), C(faculty) and C(hub), each an empty string when the host has none.
  returned: success
  type: dict
  sample:
    mech.eng.univ.example:
      {kinds: [servers], address: 198.18.1.30, address6: "", faculty: engineering, hub: mail.eng.univ.example}
gateways:
  description: The gateways with their addresses, by MX preference.
  returned: success
  type: list
  elements: dict
  sample: [{host: gw1.univ.example, address: 198.18.0.25, address6: "2001:db8:18::25", preference: 0}]
routes:
  description: The gateways' delivery table, sorted by domain.
  returned: success
  type: list
  elements: dict
  contains:
    domain:
      description: A domain in A-labels, or C(*.suffix).
      type: str
    next_hops:
      description: The addresses to deliver to, in order. The second and further ones are the domain's backups.
      type: list
      elements: str
    ask:
      description:
        - The addresses of the domain's own servers, its home and then its backups, who are asked about recipients.
        - Only where they are not the next hops themselves, that is behind a hub in tiered delivery, and not where
          C(mailgate_ask) is V(hub).
      type: list
      elements: str
    home:
      description: The domain's home server, as the inventory names it.
      type: str
    faculty:
      description: The home server's faculty.
      type: str
  sample:
    - {domain: mech.eng.univ.example, next_hops: [198.18.1.30], home: mech.eng.univ.example, faculty: engineering}
sendmail:
  description:
    - For every server, and for the queue of every gateway, the domains that it delivers itself (C(local)), those that
      it passes on for others (C(relay)), and its STATIC lines (C(static)).
    - A line has C(next_hops), all addresses in the order to try them, only where there are backups after C(next_hop).
  returned: success
  type: dict
  sample:
    mail.eng.univ.example:
      local: [eng.univ.example]
      relay: [mech.eng.univ.example]
      static: [{domain: mech.eng.univ.example, next_hop: 198.18.1.30, host: mech.eng.univ.example}]
mx:
  description:
    - For every DNS server its zones, and in each the owner names with their MX lines, most preferred first. Domains
      that keep their MX are not among them.
  returned: success
  type: dict
  sample:
    ns1.univ.example:
      - zone: eng.univ.example
        owners:
          - owner: mech.eng.univ.example
            mx:
              - {preference: 0, exchange: gw1.univ.example}
              - {preference: 10, exchange: mech.eng.univ.example}
mx_outside:
  description: With the method V(split), what the copies of the zones for outside have, as RV(mx); else empty.
  returned: success
  type: dict
  sample: {}
border:
  description: For every border router the rule for port 25. A permitted host with two addresses has two entries.
  returned: success
  type: dict
  sample:
    border.univ.example:
      outside_interface: outside0
      networks: [198.18.0.0/16]
      gateways: [198.18.0.25, "2001:db8:18::25"]
      permits:
        - {host: quake.univ.example, address: 198.18.3.40, reason: measurements, owner: netlab, until: "2029-03-31"}
proof:
  description: What becomes of mail under this plan.
  returned: success
  type: dict
  contains:
    ok:
      description: Nothing loops, is lost, or is exposed while the border has its rule.
      type: bool
    scenarios:
      description:
        - For each scenario (V(all_up), V(gateway_down), V(hub_down), V(server_down) for the home of a domain with a
          backup, V(border_open)) and the host concerned, the number of domains that are C(delivered), C(held) by a
          queue, C(blocked), C(exposed), in a C(loop) or C(lost), for each of the senders C(mx), C(direct), C(relay) and
          C(inside). The last one counts pairs of sending host and domain.
      type: list
      elements: dict
    exposed:
      description: The first few domains that outsiders reach past the gateways, with the path.
      type: list
      elements: dict
  sample:
    ok: true
    scenarios:
      - scenario: all_up
        host: ""
        senders: {mx: {delivered: 168, held: 0, blocked: 0, exposed: 0, loop: 0, lost: 0}}
    exposed: []
methods:
  description: The MX methods V(gateway), V(split) and V(fallback), as each would be on this campus.
  returned: success
  type: dict
  contains:
    gateway:
      description: One method; the others have the same keys.
      type: dict
      contains:
        work:
          description:
            - To introduce it, the lines of the zones that are added or removed (C(zone_lines)), those to be generated
              for the copies for outside (C(outside_lines)), the STATIC lines that inner servers can't do without
              (C(static_lines)), and the number of hosts to change (C(hosts)).
          type: dict
        border_open:
          description:
            - The number of C(domains) and C(servers) that senders who follow the MX reach past the gateways when the
              border loses its rule.
          type: dict
        blocked:
          description: The connections that the border refuses, and logs, while one message comes in for each domain.
          type: int
        gateway_down:
          description: The gateway (C(host)) without which mail for most domains waits, and their number (C(held)).
          type: dict
        hub_down:
          description: The same for the faculties' hubs.
          type: dict
  sample:
    gateway:
      work: {zone_lines: 672, outside_lines: 0, static_lines: 23688, hosts: 146}
      border_open: {domains: 0, servers: 0}
      blocked: 0
      gateway_down: {host: "", held: 0}
      hub_down: {host: mail.eng.univ.example, held: 1}
warnings:
  description: What is planned all the same, but should be looked at, as a permit that ends within 30 days.
  returned: success
  type: list
  elements: str
  sample: ["quake.univ.example: mailgate_permit: expires on 2029-03-31; renew or remove it before then"]
text:
  description: The whole plan as a page for people, in the campus's language.
  returned: success
  type: str
  sample: "Mail plan: Example University"
"""
