-- The agent's role, with what a managed PostgreSQL gives: CREATEDB and CREATEROLE, no superuser, no file access.
\getenv password ODOOOPS_ROLE_PASSWORD
CREATE ROLE odooops_agent LOGIN NOSUPERUSER CREATEDB CREATEROLE PASSWORD :'password';
CREATE DATABASE defaultdb OWNER odooops_agent;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
