"""Which addons are found, where each comes from, and what is refused."""

from __future__ import annotations

import pytest
from odooops_ci import addons, tree
from odooops_ci.errors import Refused


def select(repository, **options):
    return addons.select(tree.read_checkout(repository.path, **options))


def origins(selection) -> dict[str, str]:
    return {addon.name: addon.origin for addon in selection.addons}


def refused(repository) -> str:
    repository.commit()
    with pytest.raises(Refused) as caught:
        select(repository)
    return str(caught.value)


def test_golden_path_and_custom_addon(repository):
    selection = select(repository)
    assert origins(selection) == {"partner_firstname": "oca", "workshop": "custom"}
    assert selection.unselected == {"partner_ref": "addons/oca/repos/partner-contact/partner_ref"}


@pytest.mark.parametrize("path", ["shop", "addons/shop", "addons/custom/shop", "extra/shop", "vendor/acme/19/shop"])
def test_any_folder_with_a_manifest_is_custom(repository, path):
    repository.addon(path)
    repository.commit()
    assert origins(select(repository))["shop"] == "custom"


@pytest.mark.parametrize("path", [".hidden/shop", "workshop_tests/tests/shop", "web/node_modules/shop"])
def test_hidden_folders_and_tests_are_not_searched(repository, path):
    repository.addon(path)
    repository.commit()
    assert "shop" not in origins(select(repository))


def test_folder_with_marker_is_not_searched(repository):
    repository.addon("samples/v1/shop")
    repository.write("samples/.odooops-ignore")
    repository.commit()
    assert "shop" not in origins(select(repository))


def test_addon_inside_an_addon_is_not_one(repository):
    repository.addon("addons/custom/workshop/data/inner")
    repository.commit()
    assert "inner" not in origins(select(repository))


def test_addon_linked_from_hidden_folder_is_taken(repository):
    repository.addon(".vendor/shop")
    repository.link("addons/shop", "../.vendor/shop")
    repository.commit()
    assert origins(select(repository))["shop"] == "custom"


def test_linked_folder_of_addons_is_searched(repository):
    repository.addon(".vendor/acme/shop")
    repository.link("addons/acme", "../.vendor/acme")
    repository.commit()
    assert origins(select(repository))["shop"] == "custom"


def test_same_folder_by_two_ways_is_one_addon(repository):
    repository.addon("vendor/shop")
    repository.link("addons/custom/shop", "../../vendor/shop")
    repository.commit()
    assert origins(select(repository))["shop"] == "custom"


def test_enterprise_in_the_repository_and_in_a_second_folder(repository, tmp_path):
    repository.addon("enterprise/web_enterprise")
    repository.commit()
    assert origins(select(repository))["web_enterprise"] == "enterprise"
    (tmp_path / "second/account_reports").mkdir(parents=True)
    (tmp_path / "second/account_reports/__manifest__.py").write_text("{}")
    selection = addons.select(tree.read_checkout(repository.path), tree.read_folder(tmp_path / "second"))
    assert origins(selection)["account_reports"] == "enterprise"


def test_not_installable_addon_is_left_out(repository):
    repository.addon("addons/custom/old", installable=False)
    repository.commit()
    selection = select(repository)
    assert "old" not in origins(selection)
    assert selection.not_installable == ("old",)


def test_selected_addon_must_be_allowed(repository):
    repository.link("addons/oca/selected/partner_ref", "../repos/partner-contact/partner_ref")
    assert refused(repository) == (
        "Addon partner_ref is selected but not in allowlist.yaml: add it there, with who audited it."
    )


def test_oca_addon_linked_from_elsewhere_must_be_allowed_too(repository):
    repository.link("addons/custom/partner_ref", "../oca/repos/partner-contact/partner_ref")
    assert "Addon partner_ref is selected but not in allowlist.yaml" in refused(repository)


@pytest.mark.parametrize(
    "text",
    ["- partner_firstname", "modules: [partner_firstname]", "modules: {partner_firstname: {tier: low}}",
     "modules: [{name: partner_firstname}]"],
)  # fmt: skip
def test_forms_of_the_allowlist(repository, text):
    repository.write("allowlist.yaml", text)
    repository.commit()
    assert "partner_firstname" in origins(select(repository))


@pytest.mark.parametrize("text", ["modules: [{repository: x}]", "modules: 3", "modules: [1]"])
def test_allowlist_of_another_form(repository, text):
    repository.write("allowlist.yaml", text)
    assert refused(repository) == "allowlist.yaml must have a list 'modules', each with a 'name'."


def test_allowlist_that_is_no_yaml_or_missing(repository):
    repository.write("allowlist.yaml", "modules: [")
    assert refused(repository).startswith("allowlist.yaml is not valid YAML")
    (repository.path / "allowlist.yaml").unlink()
    assert refused(repository).startswith("allowlist.yaml is missing")


def test_duplicate_names_are_refused_with_both_places(repository):
    repository.addon("addons/custom/partner_firstname")
    message = refused(repository)
    assert "Addon partner_firstname is there twice or more" in message
    assert "addons/custom/partner_firstname" in message
    assert "really addons/oca/repos/partner-contact/partner_firstname" in message


@pytest.mark.parametrize("text", ["{'name': open('/etc/passwd').read()}", "{'name': ", "dict(name='x')", "(" * 5000])
def test_manifest_that_is_no_literal(repository, text):
    repository.write("addons/custom/workshop/__manifest__.py", text)
    assert "Addon workshop: addons/custom/workshop/__manifest__.py is not a plain Python literal" in refused(repository)


def test_manifest_that_is_no_dictionary(repository):
    repository.write("addons/custom/workshop/__manifest__.py", "['name']")
    assert "holds no dictionary" in refused(repository)


@pytest.mark.parametrize("needs", [{"python": "qrcode"}, {"bin": [1]}, ["x"], {"python": ["--index-url=x"]}])
def test_external_dependencies_of_another_form(repository, needs):
    repository.addon("addons/custom/workshop", external_dependencies=needs)
    assert "Addon workshop: external_dependencies must list names" in refused(repository)


def test_folder_name_that_odoo_would_overlook(repository):
    repository.addon("addons/custom/my-shop")
    assert "my-shop can't be an addon" in refused(repository)


def test_selected_folder_without_manifest(repository):
    repository.link("addons/oca/selected/partner-contact", "../repos/partner-contact")
    assert "is no addon: it has no __manifest__.py" in refused(repository)


def test_all_errors_at_once(repository):
    repository.addon("addons/custom/my-shop")
    repository.write("addons/custom/workshop/__manifest__.py", "[]")
    assert len(refused(repository).splitlines()) == 2
