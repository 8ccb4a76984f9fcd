drop index role_push_under_way;
