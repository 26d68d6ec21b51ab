# Postroom: everything a newcomer or a developer types. `make` alone lists it.
#
# Needs python3 >= 3.11 with its venv module, and make. Everything else is installed into
# .venv, in the versions and with the hashes of the lock files (requirements*.txt). A stamp
# inside .venv says what is installed, so that a second run starts at once.

SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
ARGS ?=
SEED ?=
SEEDS ?= 2000
MINUTES ?= 10
CYCLES ?= 100
ROUNDS ?= 50
FAULT ?= group
CUTS ?= 2000
FLIPS ?= 300
TIMES ?= 20
TARGET ?= all
FILE ?=
PYTEST := $(PY) -m pytest -rs
# Most scenarios wait more than they work. What was selected by ARGS runs alone, and may print.
JOBS ?= $(if $(ARGS),0,2)
STRUCTURE := tests/unit/test_layers.py tests/unit/test_style.py tests/unit/test_rfc_index.py \
	tests/unit/test_docs.py tests/unit/test_seeds_page.py

.DEFAULT_GOAL := help
# Every command with a line of help; no file has such a name.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\#.*/\1/p' Makefile)

help: ## list these commands
	@echo "Postroom: an outbound mail queue. The commands:"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
		while IFS='|' read -r name what; do printf '%-18s %s\n' "$$name" "$$what"; done
	@echo
	@echo "Pass arguments on with ARGS: make run ARGS='--config postroom.toml'"

run: $(VENV)/.ready-run ## set up, then start the server (SMTP on 127.0.0.1:2525)
	@exec $(VENV)/bin/postroom $(ARGS) serve

setup: $(VENV)/.ready-run ## make .venv with the locked dependencies and Postroom itself
	@echo "Ready: '. $(VENV)/bin/activate' or '$(VENV)/bin/postroom --help'."

setup-dev: $(VENV)/.ready-dev ## the same, with what checks and tests need
	@echo "Ready for 'make check' and 'make test'."

# One python of the right age with venv and ensurepip, or one clear line.
$(PY):
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "python3 is missing: install Python 3.11 or later" \
			"(Debian: apt install python3 python3-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed; $(PYTHON) is" \
			"$$($(PYTHON) -c 'import platform; print(platform.python_version())')." \
			"Name another with 'make PYTHON=python3.12 ...'" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "Python's venv module is missing: install it with" \
			"'apt install python3-venv' (Debian, Ubuntu) and try again" >&2; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-run: requirements.txt requirements-build.txt pyproject.toml setup.py | $(PY)
	@echo "Installing the locked dependencies into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --require-hashes -r requirements-build.txt
	@$(PIP) install --no-index --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready-run
	@echo "Installing what checks and tests need ..."
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

# Only `make fuzz` needs it, and searches without coverage where it does not install.
$(VENV)/.ready-fuzz: requirements-fuzz.txt $(VENV)/.ready-dev
	@echo "Installing what make fuzz searches with ..."
	@$(PIP) install --require-hashes -r requirements-fuzz.txt && touch $@ || \
		echo "atheris does not install here: the search goes on without coverage"

test: $(VENV)/.ready-dev ## the whole suite; tests without their programs say how to enable them
	@$(PYTEST) -n $(JOBS) --dist worksteal $(ARGS) || { status=$$?; \
		[ $$status = 5 ] && echo "No test matches." || exit $$status; }
	@$(PYTEST) -n $(JOBS) --dist worksteal tests/browser $(ARGS) || { status=$$?; \
		[ $$status = 5 ] && exit 0; exit $$status; }

check: $(VENV)/.ready-dev ## formatting, lint, strict types, layers, style and documentation
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PYTEST) $(STRUCTURE)

format: $(VENV)/.ready-dev ## let ruff format and mend what it can
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

scenarios: $(VENV)/.ready-dev ## only the tests against running servers
	@$(PYTEST) tests/scenarios $(ARGS) || { status=$$?; \
		[ $$status = 5 ] && echo "No test matches." && exit 0; exit $$status; }

growth: $(VENV)/.ready-dev ## an injection storm over CYCLES=100 of growing and shrinking
	@POSTROOM_GROWTH_CYCLES=$(CYCLES) $(PYTEST) -s tests/scenarios/test_growth.py -k storm $(ARGS)

posts: $(VENV)/.ready-dev ## how long 100 posts take behind 20,000 others, a site that hangs and one that refuses
	@$(PYTEST) -q -s tests/scenarios/test_classes.py $(ARGS)

seeds: $(VENV)/.ready-dev ## what older queues taught: run the marked tests, write docs/seeds.md
	@$(PYTEST) -m seed --seeds-table docs/seeds.md $(ARGS)

demo: $(VENV)/.ready-run ## a server, a few remote sites and a load, to look at
	@exec $(PY) tools/demo.py $(ARGS)

bench: $(VENV)/.ready-run ## messages per second, CPU, latency and memory side by side with Postfix and others
	@$(if $(COMPILED),cd build/compiled && PYTHONPATH=$(CURDIR)/build/compiled/src:.) exec $(abspath $(PY)) -m bench.compare $(ARGS)

compiled: $(VENV)/.ready-dev ## a copy with its hot modules compiled by mypyc, in build/compiled
	@$(PY) tools/compile.py

test-compiled: $(VENV)/.ready-dev ## the whole suite in that copy
	@test -d build/compiled || { echo "run 'make compiled' first" >&2; exit 1; }
	@cd build/compiled && PYTHONPATH=$(CURDIR)/build/compiled/src:$(CURDIR)/build/compiled \
		exec $(abspath $(PY)) -m pytest -n $(JOBS) $(ARGS)

bench-compiled: $(VENV)/.ready-run ## CPU of that copy beside the source as it is, by pairs
	@exec $(PY) -m bench.compiled $(ARGS)

bench-queues: $(VENV)/.ready-run ## throughput with 1, 2, 4 and 8 queues; draws docs/images/queues.svg
	@exec $(VENV)/bin/postroom bench --messages 8000 --runs 9 --sync full,none \
		--plot docs/images/queues.svg --csv bench/results/queues.csv $(ARGS)

bench-queue: $(VENV)/.ready-run ## start, count and list with 100,000 deferred messages
	@exec $(PY) -m bench.big_queue $(ARGS)

bench-watching: $(VENV)/.ready-dev ## views of a million queued messages, and what watching costs
	@exec $(PY) -m bench.watching $(ARGS)

bench-webhook: $(VENV)/.ready-dev ## what a webhook costs whose receiver is down, by pairs
	@exec $(PY) -m bench.webhook_down $(ARGS)

bench-shaping: $(VENV)/.ready-run ## what limits cost against none, by pairs; draws docs/images/shaping.svg
	@exec $(PY) -m bench.shaping --plot docs/images/shaping.svg --csv bench/results/shaping.csv $(ARGS)

crash: $(VENV)/.ready-dev ## faults under load, nothing may be lost: ROUNDS=50 FAULT=group|worker|master|stop|disk-full|mixed|all
	@exec $(PY) -m tools.crash --rounds $(ROUNDS) --target $(FAULT) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

soak: $(VENV)/.ready-dev ## at 80 % of capacity with faults on: MINUTES=60 SEED=n; draws docs/images/soak.svg
	@exec $(PY) -m tools.soak $(if $(findstring command,$(origin MINUTES)),--minutes $(MINUTES)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

cuts: $(VENV)/.ready-dev ## power cuts of a simulated disk under the real store: CUTS=10000 SEED=n
	@exec $(PY) -m tools.cuts --cuts $(CUTS) $(if $(SEED),--seed $(SEED)) $(ARGS)

power-cuts: $(VENV)/.ready-dev ## real ones: the server on ext4 that is shut down under load (root): CUTS=200 SEED=n
	@exec $(PY) -m tools.power_cuts $(if $(findstring command,$(origin CUTS)),--cuts $(CUTS)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

flips: $(VENV)/.ready-dev ## octets flipped in a spool at rest: FLIPS=300 SEED=n; none is delivered changed
	@exec $(PY) -m tools.flips --flips $(FLIPS) $(if $(SEED),--seed $(SEED)) $(ARGS)

properties: $(VENV)/.ready-dev ## every property with other examples than in the suite: TIMES=20 as many
	@POSTROOM_PROPERTIES_TIMES=$(TIMES) $(PYTEST) -m hypothesis --timeout 7200 -n $(JOBS) $(ARGS)

fuzz: $(VENV)/.ready-fuzz ## what reads octets, by coverage: TARGET=all MINUTES=60 (of each) SEED=n
	@exec $(PY) -m tests.fuzz --target $(TARGET) \
		--minutes $(if $(findstring command,$(origin MINUTES)),$(MINUTES),60) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz-replay: $(VENV)/.ready-dev ## one input of a target again: make fuzz-replay TARGET=name FILE=path
	@exec $(PY) -m tests.fuzz --target $(TARGET) --replay $(FILE)

fuzz-corpus: $(VENV)/.ready-dev ## keep of what `make fuzz` found the inputs that add branches: TARGET=all
	@exec $(PY) -m tests.fuzz --target $(TARGET) --narrow

limits-run: $(VENV)/.ready-dev ## limits at every scope while workers and master are killed: MINUTES=10 SEED=n
	@exec $(PY) -m tools.limits_run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

sim: $(VENV)/.ready-dev ## one run of the simulator: make sim SEED=7
	@exec $(PY) -m tests.sim $(if $(SEED),--seed $(SEED)) $(ARGS)

sim-long: $(VENV)/.ready-dev ## many runs of the simulator: make sim-long SEEDS=2000
	@exec $(PY) -m tests.sim --seeds $(SEEDS) $(ARGS)

sim-limits: $(VENV)/.ready-dev ## limits in virtual time while workers and governors are killed: SEEDS=100
	@exec $(PY) -m tests.sim --limits $(if $(SEED),--seed $(SEED)) \
		--seeds $(if $(findstring command,$(origin SEEDS)),$(SEEDS),100) $(ARGS)

interop: $(VENV)/.ready-dev ## mail to and from Postfix, Exim, OpenSMTPD and aiosmtpd in all combinations of extensions
	@exec $(PY) -m tests.interop $(ARGS)

rfc: $(VENV)/.ready-dev ## compare the RFC references in the code with docs/rfc.md
	@$(PY) tools/make_rfc.py $(ARGS)

docs: $(VENV)/docs/.ready ## the documentation as a site, in build/site; a broken link fails it
	@$(VENV)/docs/bin/python tools/make_site.py $(ARGS)

# Apart from the rest: the generator's dependencies have nothing to do with ours.
$(VENV)/docs/.ready: requirements-docs.txt | $(PY)
	@echo "Installing what makes the site into $(VENV)/docs ..."
	@$(PYTHON) -m venv $(VENV)/docs
	@$(VENV)/docs/bin/python -m pip --disable-pip-version-check --quiet install \
		--require-hashes -r requirements-docs.txt
	@touch $@

audit: $(VENV)/audit/.ready ## known vulnerabilities of the locked dependencies; asks the package index
	@$(VENV)/audit/bin/python tools/audit.py $(ARGS)

# Apart from the rest, as what makes the site is.
$(VENV)/audit/.ready: requirements-audit.txt | $(PY)
	@echo "Installing what audits into $(VENV)/audit ..."
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check --quiet install \
		--require-hashes -r requirements-audit.txt
	@touch $@

man: $(VENV)/.ready-run ## the manual pages, in build/man, looked at by mandoc or man
	@$(PY) tools/make_man.py $(ARGS)

screenshots: $(VENV)/.ready-dev ## the pictures of docs/how-to/console.md, of a real server, in Chromium
	@POSTROOM_SCREENSHOTS=1 $(PYTEST) tests/browser/test_screenshots.py $(ARGS)

peers: ## install the programs that tests and bench talk to (root, Debian): Postfix, swaks, Chromium, shells ...; Mailman
	@sh tools/peers.sh

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis build dist src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
