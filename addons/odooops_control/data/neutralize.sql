-- A copy of the control database must neither answer agents nor have work for them.
UPDATE odooops_agent_key SET revoked_at = now() AT TIME ZONE 'utc' WHERE revoked_at IS NULL;
UPDATE odooops_operation
   SET state = 'cancelled', finished_at = now() AT TIME ZONE 'utc', lease_until = NULL
 WHERE state IN ('queued', 'leased', 'running');
UPDATE odooops_deployment
   SET state = 'cancelled', is_active = false, ended_at = now() AT TIME ZONE 'utc'
 WHERE state IN ('draft', 'planned', 'awaiting_approval', 'approved', 'queued', 'running');
UPDATE odooops_rollback_request
   SET state = 'cancelled', is_active = false, ended_at = now() AT TIME ZONE 'utc'
 WHERE state IN ('draft', 'previewing', 'awaiting_approval', 'approved', 'queued', 'running');
UPDATE odooops_clone
   SET state = 'cancelled', ended_at = now() AT TIME ZONE 'utc'
 WHERE state IN ('inspecting', 'waiting', 'queued', 'running');
UPDATE odooops_backup SET state = 'cancelled' WHERE state IN ('queued', 'running');
UPDATE odooops_environment SET auto_deploy = false, clone_schedule = 'none';
DELETE FROM res_users_apikeys
 WHERE user_id IN (
       SELECT rel.uid
         FROM res_groups_users_rel rel
         JOIN ir_model_data data ON data.model = 'res.groups' AND data.res_id = rel.gid
        WHERE data.module = 'odooops_control' AND data.name IN ('group_ci', 'group_agent'));
UPDATE odooops_event SET state = 'ignored' WHERE state = 'received';
UPDATE odooops_github_call SET state = 'obsolete' WHERE state IN ('waiting', 'sending');
DELETE FROM odooops_oidc_trust;
