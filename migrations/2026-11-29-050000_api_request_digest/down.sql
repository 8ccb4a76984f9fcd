alter table api_request drop column digest;
