# Two commands for a newcomer: `make demo` and `make test`.
PYTHON ?=
VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m

.DEFAULT_GOAL := help
.PHONY: docs root venv help demo demo-down benchmark benchmark-deployment check test prepare lint sanity unit scenario matrix vm build lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

root:
	@[ "$$(id -u)" = 0 ] || { echo "The test hosts are containers with systemd and need root: sudo make $(MAKECMDGOALS)" >&2; exit 2; }

demo: root $(VENV)/installed ## three hosts on this machine, a Flask app on each (again: changes nothing)
	@$(RUN) tools.demo up

demo-down: root $(VENV)/installed ## remove everything that `make demo` made
	@$(RUN) tools.demo down

benchmark: root $(VENV)/installed ## measure every server on the demo's hosts, a little over an hour; the report is in benchmarks/
	@$(RUN) tools.demo up
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" ansible-playbook playbooks/benchmark.yml -i inventories/demo \
	  -e benchmark_target=app-debian -e benchmark_client=app-ubuntu $(OPTIONS)

benchmark-deployment: root $(VENV)/installed ## measure deployments on fleets of 1 to 16 hosts of its own (OPTIONS="--hosts 1": 90 s; "--rounds 3": medians; "--against COMMIT": ratios)
	@$(RUN) tools.deployment_benchmark $(OPTIONS)

check: root $(VENV)/installed ## the short test: lint, unit tests, a host of each family that answers through nginx
	@$(RUN) tools.check check

test: root $(VENV)/installed ## everything: lint, sanity, unit tests, the sample app's tests, every scenario
	@$(RUN) tools.check

venv: $(VENV)/installed ## the locked environment with ansible, in .venv

prepare: root $(VENV)/installed ## install what the test hosts and the browser test need
	@$(RUN) tools.check prepare

lint: $(VENV)/installed ## yamllint, ansible-lint (production), ruff, the CI workflow
	@$(RUN) tools.check lint

sanity: $(VENV)/installed ## ansible-test sanity on what the collection ships
	@$(RUN) tools.check sanity

unit: $(VENV)/installed ## unit tests and the sample app's tests
	@$(RUN) tools.check unit

scenario: root $(VENV)/installed ## one molecule scenario on a fleet of its own: make scenario NAME=reboot
	@$(RUN) tools.check scenario $(NAME)

matrix: root $(VENV)/installed ## every scenario on every platform, three fleets one after the other
	@$(RUN) tools.check matrix

vm: root $(VENV)/installed ## the stack on a virtual machine with SELinux enforcing (TEST_VM_IMAGE=…, else a stand-in)
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" molecule test --scenario-name vm

build: $(VENV)/installed ## the collection's artifact, into build/ (ADDRESS=https://…: the repository that publishes it)
	@$(RUN) tools.artifact $(ADDRESS)

lock: $(VENV)/installed ## make every lock file anew from its .in file
	@sh tools/lock.sh

docs: $(VENV)/installed ## write what is generated: role READMEs, the argument spec and the table of the servers
	@$(RUN) tools.docs

clean: ## remove the virtual environment and the caches
	rm -rf $(VENV) .ansible .cache .pytest_cache .ruff_cache build

$(VENV)/installed: requirements-dev.txt tools/bootstrap.sh
	@PYTHON="$(PYTHON)" sh tools/bootstrap.sh $(VENV)
