# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
#   make demo     boot the twin of inventories/demo, apply site.yml, check it with real mail, leave it running
#   make rehearse roll INVENTORY out and back on its twin under constant mail, RATE messages a second, WITH="NAME NAME"
#   make test     lint, unit tests, Molecule
#   make unit     the unit tests that take less than a second each
#   make bench    measure, BENCHES="plan mail" for some
#   make docs     build the documentation site, .cache/docs/html/index.html
#   make plan     print the plan of INVENTORY; needs neither root nor hosts
#   make catalogs extract texts to translate, update and compile the catalogs

INVENTORY ?= inventories/demo
PYTHON    ?= python3
HOST      ?=
RATE      ?= 3
WITH      ?=

VENV   := .venv
STAMPS := .cache/stamps
BIN    := $(CURDIR)/$(VENV)/bin
LINK   := .cache/collections/ansible_collections/campus/mailgate
# Constraints in the environment apply to build requirements too; Debian's pip must be told to isolate builds.
PIP    := PIP_CONSTRAINT=$(CURDIR)/requirements/lock.txt PIP_USE_PEP517=1 PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
# Output is independent of the admin's locale.
export LC_ALL := C.UTF-8

.DEFAULT_GOAL := help
.PHONY: help demo rehearse demo-down demo-shell test lint unit molecule bench docs plan catalogs setup setup-machine setup-tests clean

help:
	@sed -n 's/^#   //p' Makefile

demo: setup-machine setup
	$(PYTHON_VENV) -m lab.demo --inventory $(INVENTORY)

# The report is in .cache/rehearse. `python -m lab.rehearsal --help` lists what WITH may have.
rehearse: setup-machine setup
	$(PYTHON_VENV) -m lab.rehearsal $(if $(filter file,$(origin INVENTORY)),,--inventory $(INVENTORY)) --rate $(RATE) $(addprefix --with ,$(WITH))

demo-down: setup
	$(PYTHON_VENV) -m lab down --inventory $(INVENTORY)

demo-shell: setup
	@test -n "$(HOST)" || { echo "usage: make demo-shell HOST=gw1" >&2; exit 2; }
	@$(PYTHON_VENV) -m lab shell --inventory $(INVENTORY) $(HOST)

plan: setup
	@ansible-playbook -i $(INVENTORY) playbooks/plan.yml

# The catalogs of translated texts, as DOMAIN:DIRECTORY. Compiled ones are committed: the roles and the archive hold them.
CATALOGS := mailgate:roles/gateway/files/mailgate mailgate_report:plugins/plugin_utils/_report
catalogs: setup
	@set -e; for catalog in $(CATALOGS); do \
	  domain=$${catalog%%:*}; directory=$${catalog#*:}; locale=$$directory/locale; \
	  test -d $$locale || continue; \
	  pybabel -q extract -F babel.cfg --no-location --sort-output --omit-header -c Translators: \
	    -o $$locale/$$domain.pot $$directory; \
	  for po in $$locale/*/LC_MESSAGES/$$domain.po; do \
	    language=$$(basename $$(dirname $$(dirname $$po))); \
	    pybabel -q update --ignore-pot-creation-date --no-fuzzy-matching --ignore-obsolete \
	      -i $$locale/$$domain.pot -o $$po -l $$language; \
	    pybabel -q compile -i $$po -o $${po%.po}.mo; \
	  done; \
	done

# As tests/conftest.py, which is read after the plugins of pytest: keep compiled modules, outside the source tree.
PYTEST := env -u PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX=$(CURDIR)/.cache/pycache pytest

# Unit tests run on all processors, two workers on each, because many wait for a timeout or another program; ports,
# directories and network namespaces are a worker's own.
WORKERS ?= $(shell expr 2 '*' $$(nproc))
UNIT := $(PYTEST) --numprocesses $(WORKERS) --dist worksteal
# What depends on the event loop, which is tested on both.
LOOP := $(addprefix tests/unit/gateway/,client delivery process scan server test_faults.py test_event_loop.py)

# Molecule scenarios at a time: each has a twin of its own, and waits now and then. Tests of one xdist_group run one after
# the other.
SCENARIOS ?= $(shell expr $$(nproc) + 1)
INTEGRATION := $(PYTEST) tests/integration --numprocesses $(SCENARIOS) --dist loadgroup --verbose --durations 30

test: setup-tests setup lint
	$(UNIT) tests/unit
	MAILGATE_TEST_LOOP=uvloop $(UNIT) $(LOOP)
	$(INTEGRATION)

unit: setup
	$(UNIT) tests/unit -m "not slow"

molecule: setup-machine setup
	$(INTEGRATION)

lint: setup-tests setup
	tests/sanity/lint

# Each measurement takes minutes, on an otherwise idle machine; results in .cache/bench.
BENCHES ?= plan gateway_routes startup border zones mail limits shared_state flood pages prices scan infected infected_readers
bench: setup-tests setup
	@for bench in $(BENCHES); do \
	  echo "== $$bench"; python -m bench.$$bench $$([ $$bench = scan ] && echo time) || exit 1; done

docs: setup
	@$(PYTHON_VENV) -m docs.sphinx.build
	@echo ".cache/docs/html/index.html"

setup: $(STAMPS)/venv $(STAMPS)/wheelhouse $(LINK)
setup-machine: $(STAMPS)/machine
setup-tests: $(STAMPS)/tests

PYTHON_VENV := $(BIN)/python

$(STAMPS)/venv: requirements/lock.txt requirements/dev.txt requirements/controller.txt roles/gateway/files/requirements.txt
	@mkdir -p $(STAMPS)
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@echo "Python packages into $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --requirement requirements/dev.txt
	@touch $@

# The gateway's Python packages as wheels, so that gateways need no internet access.
$(STAMPS)/wheelhouse: $(STAMPS)/venv roles/gateway/files/requirements.txt
	@echo "wheels of the gateway into .cache/wheelhouse …"
	@rm -rf .cache/wheelhouse
	@$(PIP) wheel --quiet --wheel-dir .cache/wheelhouse --requirement roles/gateway/files/requirements.txt
	@touch $@

$(LINK):
	@mkdir -p $(@D)
	@ln -sfn $(CURDIR) $@

$(STAMPS)/machine: lab/setup-machine
	@lab/setup-machine
	@mkdir -p $(STAMPS) && touch $@

# Valkey or Redis for the tests of shared state; the package of tools has the server and starts none.
STORE = $(if $(shell apt-cache show valkey-tools 2>/dev/null),valkey-tools,redis-tools)

# PostgreSQL for the tests of the event database: servers that tests start, and no cluster of the package's.
DATABASE := /etc/postgresql-common/createcluster.d/mailgate-tests.conf

# Programs of the unit tests: netfilter, clamd, rspamd, promtool, bsdtar, the tools of BIND, mail readers (tests/readers), and a browser and a web
# server for the web page.
READERS := .cache/readers
$(STAMPS)/tests: lab/setup-machine tests/readers/package-lock.json
	@test -e $(DATABASE) || test -d /etc/postgresql || test "$$(id -u)" != 0 || { mkdir -p $(dir $(DATABASE)) && \
	  printf 'create_main_cluster = false\n' > $(DATABASE); }
	@lab/setup-machine shellcheck iptables ipset nftables clamav-daemon opendkim 7zip libarchive-tools lzip ncompress bind9-utils \
	  rspamd postgresql prometheus mpack ripmime libmime-tools-perl gir1.2-gmime-3.0 python3-gi chromium fonts-vlgothic zsh nginx-light $(STORE)
	@command -v npm >/dev/null || lab/setup-machine nodejs npm
	@mkdir -p $(READERS) && cp tests/readers/package.json tests/readers/package-lock.json $(READERS)
	@npm ci --prefix $(READERS) --ignore-scripts --no-audit --no-fund --silent
	@mkdir -p $(STAMPS) && touch $@

clean:
	rm -rf .cache .venv
