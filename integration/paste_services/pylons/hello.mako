<title>Hello</title>
<p>Hello, ${c.name}: ${request.method} ${request.path_qs}, <a href="${url(controller='hello', action='count')}">count</a>
