# Every command that a developer needs. Python 3.11 or newer and make are enough: the rest is installed into .venv.

UV_VERSION := 0.13.9
PYTHONS := python3 python3.13 python3.12 python3.11 /usr/bin/python3
PYTHON := .venv/bin/python
ARGS :=

.DEFAULT_GOAL := help
.PHONY: help install run test check format openapi record bench fuzz tour crash ledger chaos drill soak clean

help: ## List these commands
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; done

install: .venv/.installed ## Make the virtual environment (the commands below do it by themselves)

run: .venv/.installed ## Run the whole platform on this machine; ARGS="--port 8001", ARGS=--once …
	@exec $(PYTHON) manage.py up $(ARGS)

test: .venv/.installed ## Run all tests on real servers, in parallel; ARGS="-k chain", ARGS="-n 0 -x" …
	@exec $(PYTHON) -m pytest -n auto --dist worksteal $(ARGS)

check: .venv/.installed ## Everything that CI checks besides tests: style, types, imports, migrations, deployment, schema
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTHON) -m tests.services manage.py makemigrations --check --dry-run
	DJANGO_HTTPS=true TASKLOOM_PROXIES=1 TASKLOOM_FRONTEND_URL=https://taskloom.example.com EMAIL_URL=smtp://localhost:25 \
		$(PYTHON) -m tests.services manage.py check --deploy --fail-level WARNING
	$(PYTHON) -m tests.services manage.py spectacular --fail-on-warn --validate --file .venv/openapi.yaml

format: .venv/.installed ## Bring the code into its style
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

openapi: .venv/.installed ## Write down what the interface is now; review the difference
	$(PYTHON) -m tests.services manage.py spectacular --fail-on-warn --validate --file tests/wire/openapi.yaml

record: .venv/.installed ## Write down what came of the graphs in tests/recorded that have no turns yet
	@exec $(PYTHON) -m pytest tests/recorded --record -n 0 -q $(ARGS)

bench: .venv/.installed ## Measure the platform beside bare Celery and Postgres; ARGS="--only W2,W4", ARGS=--all …
	@exec $(PYTHON) -m tests.bench $(ARGS)

fuzz: .venv/.installed ## Ask the interface for all that its document allows, and much that it does not
	@exec $(PYTHON) -m pytest tests/fuzz/interface.py -p schemathesis.pytest.plugin -n 2 -q $(ARGS)

tour: .venv/.installed ## Take the tour of docs/tour.sh, and follow docs/webhooks.md, on platforms started for it
	@exec $(PYTHON) -m pytest tests/journeys/tour.py -n 0 -q $(ARGS)

crash: .venv/.installed ## End, halt and cut off workers at every named moment, and take away each guard once
	@exec $(PYTHON) -m pytest tests/crash --full-matrix -n 2 --dist load $(ARGS)

ledger: .venv/.installed ## Race, move and mutate the books a hundred times as often as the tests do
	@exec $(PYTHON) -m pytest tests/credits --ledger-turns 100 --top-up-races 100 --ledger-moves 100000 -n 2 --dist load $(ARGS)

chaos: .venv/.installed ## Let everything fail at random for three minutes; ARGS="--seconds 60 --seeds 3 --seed 1"
	@exec $(PYTHON) -m tests.chaos $(ARGS)

drill: .venv/.installed ## Follow 100 runs by 220 watchers while the web server is killed five times and Valkey restarted
	@exec $(PYTHON) -m tests.drill $(ARGS)

soak: .venv/.installed ## Chaos with new seeds for half an hour, then thousands of random graphs and schedules
	$(PYTHON) -m tests.chaos --seconds 600 --seed $$(date +%s) $(ARGS)
	$(PYTHON) -m pytest tests/proof --proof-examples 2000 -n 2

clean: ## Remove the virtual environment and what tools left behind (not the data in .taskloom)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# Installed again only when the lock or this recipe changes.
.venv/.installed: pyproject.toml uv.lock Makefile
	@set -e; \
	if ! .venv/bin/python -c '' 2>/dev/null; then \
		for name in $(PYTHONS); do \
			if "$$name" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found="$$name"; break; fi; \
		done; \
		if [ -z "$$found" ]; then echo "Taskloom needs Python 3.11 or newer, and found none." >&2; exit 1; fi; \
		echo "Making .venv with $$("$$found" -V) …"; \
		"$$found" -m venv --clear .venv || { echo "Python's venv module does not work; Debian has it in python3-venv." >&2; exit 1; }; \
	fi; \
	if [ "$$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$(UV_VERSION)" ]; then \
		.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null; \
		.venv/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore "uv==$(UV_VERSION)"; \
	fi; \
	echo "Installing what uv.lock names …"; \
	sync() { env -u VIRTUAL_ENV UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never .venv/bin/uv sync "$$@" \
		--frozen --inexact --compile-bytecode --quiet --python .venv/bin/python; }; \
	sync 2>/dev/null || sync --system-certs; \
	touch .venv/.installed
