-- The console's own database and role. The role may nothing but use its database.
\getenv password ODOOOPS_ROLE_PASSWORD
CREATE ROLE odooops_control LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE odooops_control OWNER odooops_control TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT ON DATABASE odooops_control FROM PUBLIC;
\connect odooops_control
-- Odoo searches with these where they are; its role may not create them.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS unaccent;
