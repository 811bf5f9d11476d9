# Everything runs as root: it installs packages where some are missing, and works with Docker.
ROOT := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env)
PYTHON := $(ROOT) .run/venv/bin/python
BOOTSTRAP := $(ROOT) sh scripts/setup/bootstrap.sh
comma := ,

.DEFAULT_GOAL := help
.PHONY: help demo up down test bench lint preflight clean

help:
	@echo "make demo          set everything up and show a release travel from a git tag to a healthy production"
	@echo "make up            the same without the story"
	@echo "make down          remove what demo and up made; ALL=1 also downloads, base images and all of .run"
	@echo "make test          every test, on real Odoo, PostgreSQL, Docker and Caddy"
	@echo "make bench         measure against the alternatives"
	@echo "make lint          every linter; PROVE=1 runs them on bad files instead, where each has to find something"
	@echo "make preflight     the gate of a pull request, on what differs from main; ONLY=risk,version runs some checks"

demo:
	@$(BOOTSTRAP)
	@$(PYTHON) -m scripts.demo

up:
	@$(BOOTSTRAP)
	@$(PYTHON) -m scripts.setup up

down:
	@$(BOOTSTRAP)
	@$(PYTHON) -m scripts.setup down $(if $(ALL),--all)

clean:
	@$(MAKE) --no-print-directory down ALL=1

test:
	@$(BOOTSTRAP) dev
	@$(PYTHON) -m scripts.ci.run_tests

bench:
	@$(BOOTSTRAP) dev
	@$(PYTHON) -m scripts.bench

lint:
	@$(BOOTSTRAP) dev
	@$(PYTHON) -m scripts.ci.lint $(if $(PROVE),--prove)

preflight:
	@$(BOOTSTRAP) dev
	@$(PYTHON) -m scripts.ci.preflight_here $(subst $(comma), ,$(or $(ONLY),all))
