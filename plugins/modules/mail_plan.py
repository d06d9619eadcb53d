#!/usr/bin/python
# Copyright: (c) 2026, mailgate contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of mail_plan; the action plugin of the same name implements it on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_plan
short_description: Compute and prove a campus's mail plan from its inventory
version_added: 0.1.0
author: mailgate contributors (@mailgate)
description:
  - Reads the C(mailgate_*) variables and C(ansible_host) of every host of the inventory, also outside of C(--limit),
    and returns the tables that the roles of this collection apply.
  - The plan is proved before it is returned. Delivery to every domain is simulated, host by host through the tables,
    for senders that follow the MX, connect directly to an inner server, try to relay, or are internal; with all hosts
    up, with each gateway, each hub and each server that has a backup down, and without the border rule. O(proof_file)
    receives all outcomes.
  - The three MX methods are compared for this campus, see RV(methods).
  - If the inventory has problems, displays a numbered list of all of them, each with host, variable, file and how to
    fix it, and fails. A plan that would lose mail or loop it is refused too.
  - Unknown C(mailgate_*) variables are problems, with the nearest known name as a hint. Names that begin with
    C(mailgate_plan), C(mailgate_verify) and so on, the names of playbooks, are reserved for playbooks.
  - Runs on the controller only and opens no connection. Use it with C(run_once).
extends_documentation_fragment:
  - campus.mailgate.attributes
  - campus.mailgate.attributes.controller
attributes:
  diff_mode:
    support: none
options:
  allow_problems:
    description: Do not fail for an inventory without a valid plan, but return RV(problems) only.
    type: bool
    default: false
    version_added: 0.3.0
  proof_file:
    description:
      - A file on the controller for the whole proof. It is a JSON object whose C(cases) has every domain in every
        scenario for every kind of sender, with C(verdict) and C(path), hop by hop, one case per line. A case of
        C(inside) is the worst of all starting hosts; its C(starts) counts them by verdict.
      - It is replaced only if it changes, and not in check mode.
    type: path
  show:
    description: Print the plan on the screen.
    type: bool
    default: false
  today:
    description:
      - The date at which permits must be valid, such as C(2027-03-31). The default is the date of the controller.
    type: str
notes:
  - A server is a host with C(mailgate_domains), or one that C(mailgate_hub) names. Its address is C(mailgate_address),
    by default C(ansible_host). Its faculty is C(mailgate_faculty), by default its innermost group.
  - MX records name a host by its C(mailgate_name), by default its name in the inventory. A host with
    C(mailgate_address6) needs no IPv4 address; mail is then sent to it by IPv6.
  - A server accepts mail for its C(mailgate_backup_domains) while their final server does not answer, and delivers it
    locally. C(mailgate_keep_mx), V(true) or a list of domains, and C(keep_mx), a list of zones, in C(mailgate_dns) keep
    MX records unchanged.
  - With C(mailgate_expire_permits) an expired C(mailgate_permit) is ignored with a warning, else it is a problem.
  - Domains in C(mailgate_retired) get the MX records of their own servers, but keep their routes.
  - Time and memory grow with the number of domains, but RV(sendmail) has a line for every pair of server and domain.
  - Domains are compared in lower case and as A-labels. C(*.suffix) matches all names below the suffix; an exact domain
    precedes it, and a longer suffix precedes a shorter one. A claim within another faculty's C(*.suffix) is a warning.
seealso:
  - module: ansible.builtin.add_host
    description: Groups the hosts by RV(hosts), so that plays can name them.
"""

EXAMPLES = r"""
- name: Compute the plan from the inventory
  campus.mailgate.mail_plan:
  run_once: true
  register: mailgate_plan

- name: Display the plan too
  campus.mailgate.mail_plan:
    show: true
  run_once: true

- name: Write the whole proof to a file
  campus.mailgate.mail_plan:
    proof_file: proof.json
  run_once: true

- name: Use a table of the plan
  ansible.builtin.debug:
    msg: "{{ mailgate_plan.sendmail['mech.eng.univ.example'].static }}"
  run_once: true
"""

RETURN = r"""
campus:
  description: Settings of the whole campus.
  returned: success
  type: dict
  contains:
    name:
      description: The name for reports.
      type: str
    networks:
      description: The networks of the campus, IPv4 and IPv6, in CIDR form.
      type: list
      elements: str
    method:
      description:
        - How MX records are made. V(gateway) puts the gateways before the servers of each domain, V(fallback) after
          them; V(split) has only the servers in the internal zones and only the gateways in the external zones.
      type: str
    delivery:
      description: V(direct), V(tiered) through the hubs of the faculties, or V(mixed) if the servers differ.
      type: str
    language:
      description: V(en) or V(ja).
      type: str
  sample: {name: Example University, networks: [198.18.0.0/16], method: gateway, delivery: direct, language: en}
hosts:
  description:
    - Every host of the inventory by name, with C(kinds) (V(gateways), V(borders), V(dns), V(servers); empty for
      others), C(address), C(address6), C(faculty), C(hub), C(mail_name) (the host name in MX records and greetings),
      C(delivery) and C(mta), each an empty string if the host has none, and C(keep_route), the domains for which the
      host's own route stays.
    - Servers and routers that others maintain have the kinds V(destinations) and V(handed_borders) instead of
      V(servers) and V(borders). They are never logged in to.
  returned: success
  type: dict
  sample:
    mech.eng.univ.example:
      kinds: [servers]
      address: 198.18.1.30
      address6: ""
      faculty: engineering
      hub: mail.eng.univ.example
      mail_name: mech.eng.univ.example
      delivery: direct
      mta: sendmail
      keep_route: []
gateways:
  description:
    - The gateways with their addresses, by MX preference. C(exchange) is the name of the gateway in MX records.
  returned: success
  type: list
  elements: dict
  sample:
    - host: gw1.univ.example
      exchange: gw1.univ.example
      address: 198.18.0.25
      address6: "2001:db8:18::25"
      preference: 0
event_database:
  description:
    - Where the role event_database sets up the PostgreSQL of C(mailgate_event_database). C(gateways) has the user and
      the addresses of each gateway there.
    - Empty without one.
  returned: success
  type: dict
  sample:
    host: db1.univ.example
    address: 198.18.0.30
    port: 5432
    gateways: [{host: gw1.univ.example, user: mailgate_gw1.univ.example, addresses: [198.18.0.25, "2001:db8:18::25"]}]
retired:
  description: The domains in C(mailgate_retired), which have routes but no MX records of the gateways.
  returned: success
  type: list
  elements: str
  sample: []
dns:
  description: The DNS servers with their addresses and zones.
  returned: success
  type: list
  elements: dict
  sample:
    - {host: ns1.univ.example, address: 198.18.0.53, addresses: [198.18.0.53], zones: [univ.example, eng.univ.example]}
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
        - The addresses of the verification servers of the domain, its final server and then its backups.
        - Only if they differ from the next hops, that is behind a hub in tiered delivery, and not if C(mailgate_ask) is
          V(hub).
      type: list
      elements: str
    home:
      description: The final server of the domain, by its inventory name.
      type: str
    faculty:
      description: The faculty of the final server.
      type: str
  sample:
    - {domain: mech.eng.univ.example, next_hops: [198.18.1.30], home: mech.eng.univ.example, faculty: engineering}
sendmail:
  description:
    - For every server, and for the queue of every gateway, the domains that it delivers locally (C(local)), those that
      it relays (C(relay)), and its STATIC lines (C(static)).
    - A line has C(next_hops), all addresses in the order to try them, only if there are backups after C(next_hop).
  returned: success
  type: dict
  sample:
    mail.eng.univ.example:
      local: [eng.univ.example]
      relay: [mech.eng.univ.example]
      static: [{domain: mech.eng.univ.example, next_hop: 198.18.1.30, host: mech.eng.univ.example}]
mx:
  description:
    - For every DNS server its zones, and in each the owner names with their MX records, most preferred first. Domains
      that keep their MX records are omitted.
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
  description: With the method V(split), the records of the external zones, in the form of RV(mx); else empty.
  returned: success
  type: dict
  sample: {}
border:
  description:
    - For every border router the rule for port 25. A permitted host with two addresses has two entries.
    - With C(expire_permits) the router itself closes each after its last day, C(until).
    - C(managed) is false for a router that others maintain, who install this rule.
    - C(outside_interfaces) has all external interfaces, C(outside_interface) the first of them.
  returned: success
  type: dict
  sample:
    border.univ.example:
      outside_interface: outside0
      outside_interfaces: [outside0]
      networks: [198.18.0.0/16]
      gateways: [198.18.0.25, "2001:db8:18::25"]
      expire_permits: false
      managed: true
      permits:
        - {host: quake.univ.example, address: 198.18.3.40, reason: measurements, owner: netlab, until: "2029-03-31"}
hand_over:
  description: For every border router that others maintain, what to give to its administrators.
  returned: success
  type: list
  elements: str
  sample: []
external:
  description:
    - The C(mailgate_external_domains), which have no route and whose MX records are not planned. C(within) is the
      wildcard of the campus that the domain is excepted from, C(faculty) the one that lists it; each may be empty.
  returned: success
  type: list
  elements: dict
  sample: [{domain: alumni.lab.mech.eng.univ.example, within: "*.lab.mech.eng.univ.example", faculty: engineering}]
proof:
  description: The outcome of the simulated deliveries.
  returned: success
  type: dict
  contains:
    ok:
      description: No mail loops, is lost, or is exposed while the border rule is in place.
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
      description: The first few domains for which external senders can bypass the gateways, with the path.
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
  description: The MX methods V(gateway), V(split) and V(fallback), compared for this campus.
  returned: success
  type: dict
  contains:
    gateway:
      description: One method; the others have the same keys.
      type: dict
      contains:
        work:
          description:
            - The work to introduce it. Records that are added to or removed from zones (C(zone_lines)), records of
              external zones (C(outside_lines)), STATIC lines that inner servers need (C(static_lines)), and the
              number of hosts to change (C(hosts)).
          type: dict
        border_open:
          description:
            - The number of C(domains) and C(servers) that senders reach by MX without a gateway while the border rule
              is missing.
          type: dict
        blocked:
          description: The connections that the border refuses, and logs, while one message arrives for each domain.
          type: int
        gateway_down:
          description: The gateway (C(host)) whose outage holds mail for most domains, and their number (C(held)).
          type: dict
        hub_down:
          description: The same for the hubs of the faculties.
          type: dict
  sample:
    gateway:
      work: {zone_lines: 672, outside_lines: 0, static_lines: 23688, hosts: 146}
      border_open: {domains: 0, servers: 0}
      blocked: 0
      gateway_down: {host: "", held: 0}
      hub_down: {host: mail.eng.univ.example, held: 1}
warnings:
  description: Warnings, for example of a permit that expires within 30 days.
  returned: success
  type: list
  elements: str
  sample: ["quake.univ.example: mailgate_permit: expires in 12 days, on 2029-03-31; renew or remove it before then"]
problems:
  description: The problems of the inventory, in place of its plan.
  returned: with O(allow_problems), if there are any
  type: list
  elements: str
text:
  description: The whole plan as a page of text, in the language of the campus.
  returned: success
  type: str
  sample: "Mail plan: Example University"
"""
