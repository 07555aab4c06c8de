<?php echo "Hello World!";
