def migrate(cr, version):
    """Staging and previews go on deploying without asking: the new columns' defaults are production's.

    The policies that came with the addon are not updated any more, so this says what data/policies.xml says now.
    """
    cr.execute(
        "UPDATE odooops_approval_policy SET required_checks = NULL, high_approvals_needed = 0,"
        " critical_approvals_needed = 0, second_group_id = NULL"
        " WHERE tier IS DISTINCT FROM 'production' AND approvals_needed = 0"
    )
