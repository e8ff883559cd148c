"""Two schemas that flow side by side without configuration are found, with the YAML to add."""

import yaml
from flow_lines import flows, migration
from scenarios import SETTINGS

from traced.config.migrations import MigrationSettings
from traced.migration.found import MAX_FOUND, found
from traced.migration.kinds import kinds


def find(*lines: str, configured: tuple[dict, ...] = ()):
    return found(kinds(flows(lines)), [migration(one) for one in configured])


def settings(one) -> MigrationSettings:
    (configured,) = yaml.safe_load(one.configuration)
    return MigrationSettings.model_validate(configured)


def test_two_versions_on_one_destination():
    ((one,), more) = find("order sends orders#1 system=kafka", "order sends orders#2 system=kafka", "billing takes orders#1", "fax takes orders#2")
    said = settings(one)
    assert more == 0
    assert (said.name, said.system, str(said.shape), said.old.version, said.new.version) == ("orders-to-2", "kafka", "two_messages", ("1",), ("2",))
    assert [c.service for c in said.consumers] == ["billing", "fax"]
    assert one.detail == "versions 1, 2 flow on orders"


def test_two_destinations_that_differ_in_their_version():
    ((one,), _) = find("order sends orders.v9", "order sends orders.v10", "billing takes billing-q from=orders.v9")
    said = settings(one)
    assert (said.old.destination, said.new.destination, [c.service for c in said.consumers]) == (("orders.v9",), ("orders.v10",), ["billing"])


def test_what_is_configured_is_not_found():
    assert find("order sends orders.v1", "order sends orders.v2", configured=(SETTINGS["two_destinations"],)) == ((), 0)
    assert find("order sends orders#1", "order sends orders#2", configured=(SETTINGS["two_messages"],)) == ((), 0)


def test_one_version_is_no_migration():
    assert find("order sends orders#1", "billing takes orders#1", "order sends carts.v1") == ((), 0)


def test_what_a_consumer_inherited_is_no_second_version():
    assert find("order sends orders#1", "billing takes orders#2 source=inherited") == ((), 0)


def test_a_version_in_every_message_is_none():
    assert find(*(f"order sends orders#{n}" for n in range(9))) == ((), 0)


def test_names_of_any_kind_are_written_so_that_yaml_reads_them():
    name = "or\n\"d': é\x85#-{😀"
    lines = [f"order sends 'x'#{v}" for v in "12"]
    table = flows(lines)
    table = table.set_column(table.schema.get_field_index("destination"), "destination", [[name] * 2])
    ((one,), _) = found(kinds(table), [])
    assert settings(one).old.destination == (name,)
    assert one.detail.splitlines() == [one.detail]


def test_only_so_many_are_given_and_the_others_counted():
    told, more = find(*(f"order sends orders{n}#{v}" for n in range(MAX_FOUND + 3) for v in "12"))
    assert (len(told), more) == (MAX_FOUND, 3)
