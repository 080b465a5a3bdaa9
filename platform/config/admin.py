"""The admin site as a whole: its name, and the width that its tables need."""

from django.contrib import admin

admin.site.site_header = "Taskloom"
admin.site.site_title = "Taskloom"
admin.site.index_title = "Operations"
admin.site.enable_nav_sidebar = False
